// What every fuzz target demands of the errors it gets: a message is one line of bounded length and
// cannot drive a terminal, whatever the input has in its names and values.
#pragma once

#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace aquatint {

inline void check_message(const Error& error) {
  constexpr std::size_t kLongest = 2000;
  const std::string_view message = error.what();
  if (message.empty() || message.size() > kLongest) std::abort();
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) std::abort();
  }
}

}  // namespace aquatint
