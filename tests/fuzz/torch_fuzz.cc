// Any bytes are a PyTorch file or an Error; the tensors of an accepted one lie wholly inside its
// bytes and can be read. Seeds are short pickles too, so each input is also tried as the pickle of
// an otherwise sound file with one storage of 64 bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "formats/torch_files.h"
#include "formats/torch_testing.h"
#include "fuzz_message.h"
#include "memory_file.h"

namespace {

void try_file(const std::string& bytes) {
  try {
    const auto file = std::as_bytes(std::span(bytes.data(), bytes.size()));
    for (const auto& [name, entry] : aquatint::parse_torch_file(file, "fuzz.bin")) {
      if (entry.offset > bytes.size() || entry.nbytes > bytes.size() - entry.offset) std::abort();
    }
    const aquatint::MemoryFile named(file);
    const auto files = aquatint::TorchFiles::open_file(named.path());
    for (const auto& [name, entry] : files.entries()) {
      try {
        if (files.tensor(name).dtype() != files.dtype(name)) std::abort();
        files.tensor(name).clone();
      } catch (const aquatint::Error& error) {
        aquatint::check_message(error);
      }
    }
  } catch (const aquatint::Error& error) {
    aquatint::check_message(error);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  try_file(bytes);
  try_file(
      aquatint::testing::zip_bytes({{"a/data.pkl", bytes}, {"a/data/0", std::string(64, 'x')}}));
  return 0;
}
