// What the tests of models share: logits of a whole text, differences, tiny checkpoints with random
// weights, and quantized copies of a checkpoint. Defined in test_models_test.cc.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "formats/test_support.h"
#include "models/model.h"
#include "testing/shared_data.h"

namespace aquatint::testing {

using Tokens = std::vector<std::int32_t>;

// Logits [tokens, vocab] of every token, in one run.
std::vector<float> all_logits(Model& model, std::span<const std::int32_t> tokens,
                              SequenceState& state);
// The same from a new state.
std::vector<float> all_logits(Model& model, std::span<const std::int32_t> tokens);

// Tokens that the model chooses, of a batch of prompts and of steps after them, with filters of all
// kinds, are those that the reference chooses of its logits.
void expect_tokens_of_logits(Model& model);

// Infinite when the sizes differ or a value is NaN.
float max_difference(std::span<const float> a, std::span<const float> b);
std::span<const float> values_of(const Tensor& tensor);

// How far logits and hidden values may be from those of the original implementations.
inline constexpr float kLogitTolerance = 1e-4f;
// What "hidden.N" in a reference.safetensors means: what enters block N, or what leaves it. The
// last one is after the final normalization in either case.
enum class HiddenValues { kBefore, kAfter };
struct ReferenceBounds {
  HiddenValues hidden = HiddenValues::kBefore;
  float tolerance = kLogitTolerance;
  // Comes to it for hidden values, times the largest of them: trained models have outliers, of
  // which float32 says no more than a few parts in ten million or, summed up, in a million.
  float rounding = 4e-7f;
};
// Logits and hidden values of every block, for the inputs in the folder's reference.safetensors,
// are those there within the bounds.
void expect_matches_reference(const std::filesystem::path& folder, const LoadOptions& options,
                              const ReferenceBounds& bounds = {});

Tokens random_tokens(std::int64_t n, std::int64_t vocab, std::uint32_t seed);

// The folder of a variant of tests/golden/gla, or of another family there.
std::filesystem::path golden_variant(const std::string& name, const std::string& family = "gla");
// The names of all variants of a family, in order.
std::vector<std::string> golden_variants(const std::string& family);
// Logits of a variant, in one run and token by token, are those in its expected.safetensors.
// Returns those of the one run.
std::vector<float> expect_matches_golden(const std::filesystem::path& folder);

// Text of a small GLA configuration with `changes` (a JSON object) merged in; null removes a key.
std::string tiny_config(const std::string& changes = "{}");

// A checkpoint with random float32 weights for tiny_config(changes), as folder/name.
std::filesystem::path make_checkpoint(const TempFolder& folder, const std::string& name,
                                      const std::string& changes = "{}");

// A copy of a checkpoint with every linear module whose columns the group divides quantized to
// nearest, symmetric, one scale per `group` columns (0: per row); the head too unless it is tied.
// The rest becomes float32.
std::filesystem::path make_quantized(const TempFolder& folder, const std::string& name,
                                     const std::filesystem::path& source, int bits,
                                     std::int64_t group, ActivationScheme activations);

}  // namespace aquatint::testing
