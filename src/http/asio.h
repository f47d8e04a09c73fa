// Boost.Asio for the few files that need it (it is slow to compile). Internal to src/http.
#pragma once

#include <utility>  // Boost 1.74's awaitable.hpp uses std::exchange without it

// Boost 1.74 knows standard coroutines of GCC only; clang has the same ones.
#if defined(__clang__) && !defined(BOOST_ASIO_HAS_CO_AWAIT)
#define BOOST_ASIO_HAS_CO_AWAIT 1
#endif

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace tw::http {
namespace asio = boost::asio;
using boost::system::error_code;
using Tcp = asio::ip::tcp;
}  // namespace tw::http
