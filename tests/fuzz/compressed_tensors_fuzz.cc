// Any safetensors file holds a quantized module "m" or is an Error; what is read obeys its scheme.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "formats/compressed_tensors.h"
#include "fuzz_message.h"
#include "memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using aquatint::Granularity;
  const aquatint::MemoryFile file(std::as_bytes(std::span(data, size)));
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
