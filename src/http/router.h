// Method and path to handler. Internal to src/http.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "http/server.h"

namespace tw::http {

class Router {
 public:
  /// See Server::route.
  void add(std::string method, std::string path, Handler handler);

  struct Match {
    const Handler* handler = nullptr;  ///< nullptr: answer with status
    int status = 404;                  ///< 404, or 405 with allow
    std::string allow;                 ///< "GET, HEAD, POST": the methods of a known path; empty for 404
  };
  Match find(std::string_view method, std::string_view path) const;

 private:
  using Methods = std::map<std::string, Handler, std::less<>>;
  const Methods* find_methods(std::string_view path) const;
  std::map<std::string, Methods, std::less<>> exact_;
  std::map<std::string, Methods, std::less<>> prefixes_;  // keys end in '/'
};

}  // namespace tw::http
