#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace tw::base {

void check_failed(const char* file, int line, const char* condition, const char* text) {
  std::fprintf(stderr, "%s:%d: assumption failed: %s (%s). This is a bug in tokenworks: please report it.\n",
               file, line, condition, text);
  std::abort();
}

}  // namespace tw::base
