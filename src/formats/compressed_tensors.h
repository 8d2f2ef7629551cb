// The compressed-tensors checkpoint format: the quantization_config object of config.json and the
// tensors of a quantized module (weight, weight_packed, weight_scale, weight_zero_point,
// weight_shape). Layouts and the source of each rule: docs/formats/compressed_tensors.md.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "formats/config.h"
#include "formats/safetensors.h"
#include "packing/quantized_matrix.h"

namespace aquatint {

// How one module (a linear layer or an embedding) is quantized.
struct ModuleScheme {
  WeightScheme weights;
  ActivationScheme activations = ActivationScheme::kFloat;
  bool operator==(const ModuleScheme&) const = default;
};

// "Linear" or "Embedding": the class names that targets may use.
enum class ModuleClass { kLinear, kEmbedding };

// The parsed quantization_config of a checkpoint.
class QuantizationConfig {
 public:
  // Reads config["quantization_config"]; empty when the key is absent. A quant_method other than
  // compressed-tensors, or a scheme we cannot run, is error kUnsupported naming the key and value.
  static std::optional<QuantizationConfig> from(const Config& config);

  // The scheme of a module, or nothing when it is ignored or matches no group. Precedence as in
  // compressed-tensors: ignore list first, then exact names, then "re:" patterns, then class names.
  std::optional<ModuleScheme> scheme_of(const std::string& module, ModuleClass cls) const;

 private:
  struct Target {
    std::string text;  // exact name, "re:…" or class name
    ModuleScheme scheme;
  };
  std::vector<Target> targets_;
  std::vector<std::string> ignore_;
};

// The quantization_config object for a model whose modules are quantized as listed; `ignored` are
// the linear modules left in floating point. The most frequent scheme targets "Linear", others get
// their own group with a "re:" pattern over layer numbers where it fits, else exact names. format:
// "int-quantized" when activations are quantized anywhere, "pack-quantized" when only weights are.
nlohmann::json make_quantization_config(
    const std::vector<std::tuple<std::string, ModuleClass, ModuleScheme>>& modules,
    const std::vector<std::string>& ignored);

// Names, types and shapes of the tensors that store a [rows, columns] weight of `module`.
std::vector<TensorInfo> compressed_tensor_infos(const std::string& module,
                                                const ModuleScheme& scheme, std::int64_t rows,
                                                std::int64_t columns, DType scale_dtype);
// The tensors themselves. Scales are converted to `scale_dtype` exactly (the rounding chose them
// so).
std::vector<std::pair<std::string, Tensor>> to_compressed_tensors(const std::string& module,
                                                                  const ModuleScheme& scheme,
                                                                  const QuantizedMatrix& matrix,
                                                                  DType scale_dtype);
// Reads them back. Error kNotFound or kCorrupt naming the tensor.
QuantizedMatrix from_compressed_tensors(const SafetensorsSet& set, const std::string& module,
                                        const ModuleScheme& scheme);

// int32 words of pack-quantized: u = q + 2^(bits-1), 32/bits values a word, the first in the low
// bits, rows padded with zero. values: int8 [rows, columns] -> int32 [rows, ceil(columns /
// (32/bits))].
Tensor pack_int32(const Tensor& values, int bits);
Tensor unpack_int32(const Tensor& words, int bits, std::int64_t columns);

}  // namespace aquatint
