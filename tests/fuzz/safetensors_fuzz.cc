// Any bytes are a safetensors file or an Error; an accepted one lies wholly inside its bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "formats/safetensors.h"
#include "fuzz_message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto bytes = std::as_bytes(std::span(data, size));
    const auto header = aquatint::parse_safetensors_header(bytes, "fuzz.safetensors");
    std::size_t total = 0;
    unsigned sum = 0;
    for (const auto& [name, entry] : header.entries) {
      if (entry.offset > size || entry.nbytes > size - entry.offset) std::abort();
      total += entry.nbytes;
      for (std::size_t i = 0; i < entry.nbytes; ++i) sum += data[entry.offset + i];
    }
    if (total > size) std::abort();
    volatile unsigned sink = sum;  // so that the bytes are really read
    static_cast<void>(sink);
  } catch (const aquatint::Error& error) {
    aquatint::check_message(error);
  }
  return 0;
}
