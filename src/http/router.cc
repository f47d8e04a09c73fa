#include "http/router.h"

namespace tw::http {

void Router::add(std::string method, std::string path, Handler handler) {
  const bool prefix = path.ends_with("/*");
  if (prefix) path.pop_back();
  (prefix ? prefixes_ : exact_)[std::move(path)][std::move(method)] = std::move(handler);
}

const Router::Methods* Router::find_methods(std::string_view path) const {
  if (const auto it = exact_.find(path); it != exact_.end()) return &it->second;
  const Methods* best = nullptr;
  std::size_t best_length = 0;
  for (const auto& [prefix, methods] : prefixes_) {
    if (path.starts_with(prefix) && prefix.size() > best_length) {
      best = &methods;
      best_length = prefix.size();
    }
  }
  return best;
}

Router::Match Router::find(std::string_view method, std::string_view path) const {
  Match match;
  const Methods* methods = find_methods(path);
  if (methods == nullptr) return match;
  for (const auto& [name, handler] : *methods) {
    match.allow += (match.allow.empty() ? "" : ", ") + name;
    if (name == "GET") match.allow += ", HEAD";
  }
  auto it = methods->find(method);
  if (it == methods->end() && method == "HEAD") it = methods->find("GET");
  match.status = it == methods->end() ? 405 : 200;
  match.handler = it == methods->end() ? nullptr : &it->second;
  return match;
}

}  // namespace tw::http
