#include "quantize/rounded_source.h"

#include <gtest/gtest.h>

#include <cstring>

#include "models/model.h"
#include "models/running_bytes.h"
#include "quantize/test_support.h"
#include "quantize/transform.h"
#include "testing/shared_data.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;
using testing::logits_of;
using testing::quantize_to;
using testing::recipe_of;
using testing::SmallModel;

void expect_same(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

// The model loaded through a source, and the one that is written and read again, by their logits.
void expect_equals_written(const fs::path& folder, const Recipe& recipe,
                           const LoadOptions& options) {
  const testing::TempFolder temp;
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const Plan plan = make_plan(checkpoint, recipe);
  QuantizeOptions output;
  output.output = temp.path() / "out";
  quantize(checkpoint, recipe, plan, output);
  const Checkpoint written = Checkpoint::open(output.output);
  const std::vector<std::int32_t> tokens = {1, 7, 3, 42, 11, 5, 5, 30, 2};
  RoundedTensors rounded(checkpoint, plan);
  const RoundedSource source(rounded);
  EXPECT_EQ(running_weight_bytes(checkpoint.architecture(), source, options),
            running_weight_bytes(written, options));
  expect_same(logits_of(Model::load(checkpoint.shared_architecture(), source, options), tokens),
              logits_of(Model::load(written, options), tokens));
}

TEST(RoundedSource, EqualsTheWrittenModel) {
  const fs::path demo = testing::source_dir() / "assets/models/gla-demo";
  for (const char* recipe : {"w8a8-dynamic", "w4a16", "w8a8-dynamic-all", "w4a16-g32-asym"}) {
    SCOPED_TRACE(recipe);
    expect_equals_written(demo, Recipe::load(recipe), {});
  }
  LoadOptions simulated;
  simulated.execution = Execution::kSimulated;
  expect_equals_written(demo, Recipe::load("w8a8-dynamic"), simulated);
}

TEST(RoundedSource, EqualsTheWrittenModelOfEveryArchitecture) {
  AQUATINT_SHARED_PATH(models, "models");
  for (const char* model : {"gpt2", "llama", "mamba", "mamba2"}) {
    SCOPED_TRACE(model);
    expect_equals_written(models / model, Recipe::load("w8a8-dynamic-all"), {});
  }
}

TEST(RoundedSource, EqualsTheWrittenModelOfTransformedWeights) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const Recipe recipe = recipe_of(
      "weights: {bits: 8}\nactivations: {bits: 8}\n"
      "transforms: [{name: smooth, projections: true}]\n");
  const std::vector<std::int32_t> tokens = {1, 7, 3, 42, 11, 5, 5, 30, 2};
  CalibrationData data;
  data.sequences = {{tokens.begin(), tokens.end()}};
  const auto weights = apply_transforms(checkpoint, recipe, data, {});
  const Plan plan = make_plan(checkpoint, recipe);
  QuantizeOptions output;
  output.output = model.path("out");
  quantize(checkpoint, *weights, recipe, plan, output);
  RoundedTensors rounded(checkpoint, *weights, plan);
  expect_same(
      logits_of(Model::load(checkpoint.shared_architecture(), RoundedSource(rounded), {}), tokens),
      logits_of(Model::load(Checkpoint::open(output.output), {}), tokens));
}

TEST(RoundedSource, RoundsOnlyWhatIsSelected) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const Recipe recipe = recipe_of("weights: {bits: 4, group_size: 16}\nactivations: {bits: 8}\n");
  const Plan plan = make_plan(checkpoint, recipe);
  std::set<const TensorPlan*> selected;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.spec->role == Role::kMlpOut) selected.insert(&tensor);
  }
  RoundedTensors rounded(checkpoint, plan);
  const RoundedSource source(rounded, selected);
  EXPECT_TRUE(source.is_quantized());
  std::int64_t quantized = 0;
  for (const TensorSpec& spec : checkpoint.architecture().tensors()) {
    if (!is_linear(spec.role)) continue;
    const LinearWeights weights = source.linear(spec.module());
    const bool is_quantized = std::holds_alternative<QuantizedMatrix>(weights.weight);
    EXPECT_EQ(is_quantized, spec.role == Role::kMlpOut) << spec.name;
    EXPECT_EQ(is_quantized, source.scheme(spec).has_value());
    EXPECT_EQ(weights.activations,
              is_quantized ? ActivationScheme::kInt8Dynamic : ActivationScheme::kFloat);
    quantized += is_quantized ? 1 : 0;
  }
  EXPECT_EQ(quantized, 2);
  EXPECT_TRUE(source.head_is_tied());
}

TEST(RoundedSource, WithNothingSelectedIsTheCheckpoint) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const Plan plan = make_plan(checkpoint, recipe_of("weights: {bits: 8}\n"));
  RoundedTensors rounded(checkpoint, plan);
  const RoundedSource source(rounded, {});
  const std::vector<std::int32_t> tokens = {1, 7, 3, 42};
  expect_same(logits_of(Model::load(checkpoint.shared_architecture(), source, {}), tokens),
              logits_of(Model::load(checkpoint, {}), tokens));
  EXPECT_EQ(rounded.nbytes(), 0);
}

TEST(RoundedSource, SourcesShareWhatIsRounded) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const Plan plan = make_plan(checkpoint, recipe_of("weights: {bits: 8}\n"));
  RoundedTensors rounded(checkpoint, plan);
  const RoundedSource one(rounded), other(rounded);
  const std::string module = "model.layers.1.mlp.up_proj";
  const auto values = [&](const RoundedSource& source) {
    return std::get<QuantizedMatrix>(source.linear(module).weight).values;
  };
  EXPECT_EQ(values(one).bytes(), values(other).bytes());
  EXPECT_GT(rounded.nbytes(), 0);
  rounded.forget(0);
  EXPECT_GT(rounded.nbytes(), 0);
  rounded.forget(1);
  EXPECT_EQ(rounded.nbytes(), 0);
}

}  // namespace
}  // namespace aquatint
