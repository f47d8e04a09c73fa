// For tests: a bare TCP client, to send what a well-behaved library would not.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <string_view>

namespace tw::http {

class RawClient {
 public:
  explicit RawClient(int port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) {
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  ~RawClient() { close(); }

  bool connected() const { return connected_; }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  /// What came until `marker` appeared `times` times, the peer closed, or the time was up.
  std::string read_until(std::string_view marker, int times = 1, int timeout_ms = 30000) {
    while (count(marker) < times && read_once(timeout_ms)) {
    }
    return received_;
  }
  /// Everything up to the peer's close.
  std::string read_all(int timeout_ms = 30000) {
    while (read_once(timeout_ms)) {
    }
    return received_;
  }
  bool peer_closed() const { return peer_closed_; }
  void forget() { received_.clear(); }

  void half_close() { ::shutdown(fd_, SHUT_WR); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int count(std::string_view marker) const {
    int n = 0;
    for (std::size_t at = received_.find(marker); at != std::string::npos;
         at = received_.find(marker, at + 1))
      ++n;
    return n;
  }
  bool read_once(int timeout_ms) {
    pollfd poll{fd_, POLLIN, 0};
    if (::poll(&poll, 1, timeout_ms) <= 0) return false;
    char bytes[65536];
    const ssize_t n = ::recv(fd_, bytes, sizeof(bytes), 0);
    peer_closed_ = n <= 0;
    if (n > 0) received_.append(bytes, static_cast<std::size_t>(n));
    return n > 0;
  }

  int fd_;
  bool connected_ = false;
  bool peer_closed_ = false;
  std::string received_;
};

}  // namespace tw::http
