// What is told of a blank where nobody can fill it.
#pragma once

#include <string>

namespace tw::plan {

/// Of Accelerator::get()'s error what is lacking alone, for rows of measurements, which have no flags.
inline std::string without_advice(std::string message) {
  for (const char* advice : {": give --", ": choose another accelerator"}) {
    if (const std::size_t at = message.find(advice); at != std::string::npos) message.resize(at);
  }
  return message;
}

}  // namespace tw::plan
