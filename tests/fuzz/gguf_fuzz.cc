// Any bytes are a GGUF file or an Error; the tensors of an accepted one lie wholly inside its bytes
// and can be read, and every value of its metadata has its type.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "formats/gguf_file.h"
#include "fuzz_message.h"
#include "memory_file.h"

namespace {

template <typename Body>
void expect_error_or_value(const Body& body) {
  try {
    body();
  } catch (const aquatint::Error& error) {
    aquatint::check_message(error);
  }
}

void read_metadata(const aquatint::GgufMetadata& metadata) {
  for (const auto& [key, value] : metadata.values()) {
    expect_error_or_value([&, &name = key] { metadata.find_int(name); });
    expect_error_or_value([&, &name = key] { metadata.find_number(name); });
    expect_error_or_value([&, &name = key] { metadata.find_bool(name); });
    expect_error_or_value([&, &name = key] { metadata.find_string(name); });
    expect_error_or_value([&, &name = key] { metadata.strings(name); });
    expect_error_or_value([&, &name = key] { metadata.ints(name); });
    expect_error_or_value([&, &name = key] { metadata.floats(name); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  expect_error_or_value([&] {
    for (const auto& [name, entry] : aquatint::parse_gguf(bytes, "fuzz.gguf").tensors) {
      if (entry.offset > size || entry.nbytes > size - entry.offset) std::abort();
    }
    const aquatint::MemoryFile named(bytes);
    const auto file = aquatint::GgufFile::open(named.path());
    read_metadata(file.metadata());
    for (const auto& [name, entry] : file.entries()) {
      expect_error_or_value([&, &tensor = name] {
        if (file.tensor(tensor).dtype() != file.dtype(tensor)) std::abort();
        file.tensor(tensor).clone();
      });
    }
  });
  return 0;
}
