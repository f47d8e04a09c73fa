#include "http/server.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <pthread.h>

#include <thread>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "http/asio.h"
#include "http/context.h"
#include "http/listener.h"
#include "http/session.h"
#include "http/text.h"

namespace tw::http {
namespace {

constexpr std::chrono::milliseconds kSweepTime{200};
constexpr std::chrono::milliseconds kAcceptPause{100};
constexpr std::chrono::seconds kFreshTime{1};

/// Small packets at once; a dead peer (power off, cable cut) is noticed within a minute.
void tune(Tcp::socket& socket) {
  error_code ignored;
  socket.set_option(Tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  const auto set = [&](int name, int value) {
    return ::setsockopt(socket.native_handle(), IPPROTO_TCP, name, &value, sizeof(value));
  };
  set(TCP_KEEPIDLE, 30);
  set(TCP_KEEPINTVL, 10);
  set(TCP_KEEPCNT, 3);
}

std::string show(const Tcp::endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  return fmt::format("{}:{}", endpoint.address().is_v6() ? "[" + address + "]" : address, endpoint.port());
}

}  // namespace

class Server::Impl {
 public:
  explicit Impl(ServerOptions options) : context(std::make_shared<ServerContext>()) {
    context->options = std::move(options);
  }
  ~Impl() { stop(); }

  base::Status bind();
  void start();
  void begin_drain();
  void stop();
  int port() const { return port_; }
  bool loopback_only() const { return loopback_only_; }

  const std::shared_ptr<ServerContext> context;

 private:
  void accept_next();
  void accepted(error_code ec, Tcp::socket socket);
  void admit(Tcp::socket socket);
  std::shared_ptr<Session> expendable() const;
  bool close_one();
  void refuse(Tcp::socket socket);
  void sweep();
  void shut_down();

  asio::io_context io_{1};
  Tcp::acceptor acceptor_{io_};
  asio::steady_timer sweep_timer_{io_};
  asio::steady_timer accept_timer_{io_};
  std::unique_ptr<TlsAcceptor> tls_;
  int port_ = 0;
  bool loopback_only_ = false;
  std::unordered_set<std::shared_ptr<Session>> sessions_;  // I/O thread only
  bool stopping_ = false;                                  // I/O thread only
  std::thread thread_;
};

base::Status Server::Impl::bind() {
  const ServerOptions& options = context->options;
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return base::error(base::Code::kInvalidArgument, "TLS needs both --tls-cert and --tls-key");
  }
  if (!options.tls_cert.empty()) {
    TW_ASSIGN_OR_RETURN(tls_, TlsAcceptor::create(options.tls_cert, options.tls_key));
  }
  TW_ASSIGN_OR_RETURN(acceptor_, listen_on(io_, options.host, options.port));
  error_code ec;
  const Tcp::endpoint local = acceptor_.local_endpoint(ec);
  port_ = local.port();
  loopback_only_ = local.address().is_loopback();
  return base::Ok{};
}

void Server::Impl::start() {
  TW_CHECK(!thread_.joinable(), "a server is started once");
  context->gate.open([this](std::function<void()> work) { asio::post(io_, std::move(work)); });
  accept_next();
  sweep();
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "tw-http");
    io_.run();
  });
}

void Server::Impl::accept_next() {
  if (!acceptor_.is_open()) return;
  acceptor_.async_accept([this](error_code ec, Tcp::socket socket) { accepted(ec, std::move(socket)); });
}

void Server::Impl::accepted(error_code ec, Tcp::socket socket) {
  if (!acceptor_.is_open()) return;
  if (!ec) {
    admit(std::move(socket));
    return accept_next();
  }
  // Out of file descriptors, most likely: one can be had at once, or waiting lets some come free.
  if (ec == asio::error::no_descriptors && close_one()) return accept_next();
  accept_timer_.expires_after(kAcceptPause);
  accept_timer_.async_wait([this](error_code cancelled) {
    if (!cancelled) accept_next();
  });
}

void Server::Impl::admit(Tcp::socket socket) {
  const auto limit = static_cast<std::size_t>(context->options.max_connections);
  if (sessions_.size() >= limit && !close_one()) return refuse(std::move(socket));
  tune(socket);
  error_code ec;
  const Tcp::endpoint remote = socket.remote_endpoint(ec);
  if (ec) return;
  auto transport = tls_ ? tls_->accept(std::move(socket)) : make_plain_transport(std::move(socket));
  auto session = std::make_shared<Session>(std::move(transport), io_, context, show(remote));
  sessions_.insert(session);
  session->start(io_, [this, key = std::weak_ptr<Session>(session)] { sessions_.erase(key.lock()); });
}

/// The connection that gives way to a new one: an idle one (not one that came just now, whose request is on
/// its way), else the one that has taken the longest over its request. Whoever holds connections open with
/// requests half sent so pays with them, and not those who ask. None when all wait for their answers.
std::shared_ptr<Session> Server::Impl::expendable() const {
  const auto fresh = Session::Clock::now() - kFreshTime;
  std::shared_ptr<Session> idle, slow;
  const auto older = [](const auto& a, const auto& b) { return !b || a->phase_start() < b->phase_start(); };
  for (const auto& session : sessions_) {
    if (session->idle() && session->phase_start() < fresh && older(session, idle)) idle = session;
    if (!session->answering() && older(session, slow)) slow = session;
  }
  return idle ? idle : slow;
}

bool Server::Impl::close_one() {
  const std::shared_ptr<Session> session = expendable();
  if (!session) return false;
  session->close();
  sessions_.erase(session);
  return true;
}

void Server::Impl::refuse(Tcp::socket socket) {
  if (tls_) return;
  const Response response = context->error_response(503, "too many connections: try again later");
  std::string text = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n";
  append_header(text, "Content-Type", response.content_type);
  text += fmt::format("Content-Length: {}\r\n\r\n{}", response.body.size(), response.body);
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(text), ignored);
  socket.shutdown(Tcp::socket::shutdown_send, ignored);
}

void Server::Impl::sweep() {
  if (stopping_) return;
  const auto now = Session::Clock::now();
  for (const auto& session : sessions_) session->check_deadlines(now);
  sweep_timer_.expires_after(kSweepTime);
  sweep_timer_.async_wait([this](error_code ec) {
    if (!ec) sweep();
  });
}

void Server::Impl::shut_down() {
  stopping_ = true;
  error_code ignored;
  acceptor_.close(ignored);
  accept_timer_.cancel();
  for (const auto& session : sessions_) session->close();
  sweep_timer_.cancel();
}

void Server::Impl::begin_drain() {
  context->draining = true;
}

void Server::Impl::stop() {
  if (!thread_.joinable()) {
    error_code ignored;
    acceptor_.close(ignored);
    return;
  }
  TW_CHECK(std::this_thread::get_id() != thread_.get_id(),
           "a server cannot be stopped by its own I/O thread");
  begin_drain();
  context->gate.post([this] { shut_down(); });
  thread_.join();  // run() returns when every connection's coroutine has ended
  context->gate.close();
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

base::Result<std::unique_ptr<Server>> Server::create(ServerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  TW_RETURN_IF_ERROR(impl->bind());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::route(std::string method, std::string path, Handler handler) {
  impl_->context->router.add(std::move(method), std::move(path), std::move(handler));
}
void Server::set_error_body(ErrorBody error_body) {
  impl_->context->error_body = std::move(error_body);
}
void Server::set_before(Filter filter) {
  impl_->context->filter = std::move(filter);
}
void Server::set_observer(Observer observer) {
  impl_->context->observer = std::move(observer);
}
void Server::start() {
  impl_->start();
}
int Server::port() const {
  return impl_->port();
}
bool Server::loopback_only() const {
  return impl_->loopback_only();
}
void Server::begin_drain() {
  impl_->begin_drain();
}
bool Server::wait_idle(std::chrono::milliseconds timeout) {
  return impl_->context->in_flight.wait_idle(timeout);
}
void Server::stop() {
  impl_->stop();
}

std::string Server::url() const {
  const ServerOptions& options = impl_->context->options;
  const bool v6 = options.host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", options.tls_cert.empty() ? "http" : "https", v6 ? "[" : "",
                     options.host, v6 ? "]" : "", port());
}

}  // namespace tw::http
