// Any safetensors file holds a quantized module "m" or is an Error; what is read obeys its scheme.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "formats/compressed_tensors.h"
#include "fuzz_message.h"

namespace {

// Readers map files, so the bytes are given a name.
class MemoryFile {
 public:
  MemoryFile(const std::uint8_t* data, std::size_t size) : fd_(::memfd_create("fuzz", 0)) {
    if (fd_ < 0 || ::write(fd_, data, size) != static_cast<ssize_t>(size)) std::abort();
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using aquatint::Granularity;
  const MemoryFile file(data, size);
  try {
    const auto set = aquatint::SafetensorsSet::open_file(file.path());
    for (int bits : {3, 4, 8}) {
      for (const bool symmetric : {true, false}) {
        for (const auto granularity :
             {Granularity::kTensor, Granularity::kRow, Granularity::kGroup}) {
          const std::int64_t group = granularity == Granularity::kGroup ? 4 : 0;
          const aquatint::ModuleScheme scheme{{bits, symmetric, granularity, group},
                                              aquatint::ActivationScheme::kFloat};
          try {
            const auto matrix = aquatint::from_compressed_tensors(set, "m", scheme);
            aquatint::validate(matrix, "m");
            aquatint::dequantize(matrix);
          } catch (const aquatint::Error& error) {
            aquatint::check_message(error);
          }
        }
      }
    }
  } catch (const aquatint::Error& error) {
    aquatint::check_message(error);
  }
  return 0;
}
