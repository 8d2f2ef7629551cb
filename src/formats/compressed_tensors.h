// The compressed-tensors checkpoint format: the quantization_config object of config.json and the
// tensors of a quantized module (weight, weight_packed, weight_scale, weight_zero_point,
// weight_shape). Layouts and the source of each rule: docs/formats/compressed_tensors.md.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "formats/config.h"
#include "formats/safetensors.h"
#include "packing/quantized_matrix.h"

namespace aquatint {

// How a file holds the integers of a weight: one int8 each (int-quantized), or packed in int32
// words (pack-quantized). kInferred is what compressed-tensors assumes when nothing is said:
// int-quantized with quantized activations, else pack-quantized. Embeddings should be kInts:
// transformers cannot load packed ones.
enum class WeightLayout { kInferred, kInts, kPacked };

// How one module (a linear layer or an embedding) is quantized and stored.
struct ModuleScheme {
  WeightScheme weights;
  ActivationScheme activations = ActivationScheme::kFloat;
  WeightLayout layout = WeightLayout::kInferred;
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
  // compressed-tensors: ignore list first, then exact names, then "re:" patterns (in alphabetical
  // order, anchored at the start of the name only), then class names. Error kUnsupported for a
  // pattern that exceeds the matching limits.
  std::optional<ModuleScheme> scheme_of(const std::string& module, ModuleClass cls) const;

 private:
  struct Rules;
  std::shared_ptr<const Rules> rules_;
};

// The format of one module's tensors: "int-quantized" or "pack-quantized".
const char* module_format(const ModuleScheme& scheme);

// The quantization_config object for a model whose modules are quantized as listed; `ignored` are
// the linear modules left in floating point. The most frequent scheme of linear modules targets
// "Linear", others get their own group with "re:" patterns over layer numbers where they fit, else
// exact names. "format" is that of the modules; with several it is "mixed-precision" and each group
// has its own. REQUIRES at least one module.
nlohmann::json make_quantization_config(
    const std::vector<std::tuple<std::string, ModuleClass, ModuleScheme>>& modules,
    const std::vector<std::string>& ignored);

// Names, types and shapes of the tensors that store a [rows, columns] weight of `module` and the
// scale of its static activations, if it has any. Error
// kUnsupported when the columns are not a multiple of the group size, which the format demands.
// With `transposed`, "weight" is [columns, rows], as loaders expect of modules that hold their
// weights so (docs/formats/compressed_tensors.md); nothing else changes.
std::vector<TensorInfo> compressed_tensor_infos(const std::string& module,
                                                const ModuleScheme& scheme, std::int64_t rows,
                                                std::int64_t columns, DType scale_dtype,
                                                bool transposed = false);
// The tensors themselves. Scales are converted to `scale_dtype` exactly (the rounding chose them
// so).
std::vector<std::pair<std::string, Tensor>> to_compressed_tensors(
    const std::string& module, const ModuleScheme& scheme, const QuantizedMatrix& matrix,
    DType scale_dtype, bool transposed = false, const StaticScale& input = {});
// Reads them back, from whichever of the two formats the tensors that exist are in; int8 values may
// be a view of the mapped file. Error kNotFound, kCorrupt, kNumeric or kUnsupported naming the
// tensor.
QuantizedMatrix from_compressed_tensors(const TensorFiles& set, const std::string& module,
                                        const ModuleScheme& scheme, bool transposed = false);

// The grid of a module's static activations. Errors as above.
StaticScale read_static_scale(const TensorFiles& set, const std::string& module,
                              ActivationScheme scheme);

// int32 words of pack-quantized: u = q + 2^(bits-1) in `bits` bits each, one after the other from
// the low bits of the first word; a value may span two words (3, 5, 6, 7 bits). The last word of a
// row is padded with zeros. values: int8 [rows, columns] -> int32 [rows, ceil(columns * bits /
// 32)].
Tensor pack_int32(const Tensor& values, int bits);
// The inverse. Also reads rows of ceil(columns / (32/bits)) words, where older compressed-tensors
// let no value span two words; should both counts be equal, values span. Error kCorrupt for any
// other width.
Tensor unpack_int32(const Tensor& words, int bits, std::int64_t columns);

}  // namespace aquatint
