// Any configuration gives a quantization scheme for a module, none, or an Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "formats/compressed_tensors.h"
#include "fuzz_message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto config = aquatint::Config::parse(text, "fuzz.json");
    const auto quantization = aquatint::QuantizationConfig::from(config);
    if (!quantization) return 0;
    for (const char* name : {"model.layers.10.mlp.down_proj", "lm_head", "a"}) {
      for (const auto cls : {aquatint::ModuleClass::kLinear, aquatint::ModuleClass::kEmbedding}) {
        try {
          const auto scheme = quantization->scheme_of(name, cls);
          if (!scheme) continue;
          if (scheme->weights.bits < 2 || scheme->weights.bits > 8) std::abort();
          aquatint::compressed_tensor_infos(name, *scheme, 48, 96, aquatint::DType::kF32);
          // What we would write for this module reads back as the same scheme.
          const auto json = aquatint::make_quantization_config({{name, cls, *scheme}}, {});
          const auto again = aquatint::QuantizationConfig::from(aquatint::Config::parse(
              nlohmann::json({{"quantization_config", json}}).dump(), "again.json"));
          if (again->scheme_of(name, cls) != scheme) std::abort();
        } catch (const aquatint::Error& error) {
          aquatint::check_message(error);
        }
      }
    }
  } catch (const aquatint::Error& error) {
    aquatint::check_message(error);
  }
  return 0;
}
