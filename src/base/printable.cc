#include "base/printable.h"

#include <fmt/core.h>

namespace aquatint {

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool continuation = (byte & 0xC0u) == 0x80u;
    if (out.size() >= limit && !continuation) return out + "…";
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += text[i];
    }
    // Text that is one endless run of continuation bytes is not UTF-8 and has no good place to cut.
    if (out.size() >= limit + 8) return out + "…";
  }
  return out;
}

}  // namespace aquatint
