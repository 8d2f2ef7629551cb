#include "quantize/transforms/smooth.h"

#include <gtest/gtest.h>

#include <cmath>

#include "quantize/recipe.h"
#include "quantize/test_support.h"
#include "quantize/transformed_source.h"

namespace aquatint {
namespace {

using testing::recipe_of;
using testing::SmallModel;

const std::string kBlock = "model.layers.0.";

CalibrationData some_data() {
  CalibrationData data;
  data.sequences = {{1, 7, 3, 42, 11}, {5, 5, 30, 2}};
  return data;
}

std::vector<float> values_of(const WeightSource& source, const std::string& name) {
  const Tensor tensor = source.tensor(name).to_f32();
  return {tensor.data<float>(), tensor.data<float>() + tensor.numel()};
}

// Factors of the columns of a group, straight from the formula.
std::vector<double> direct(const Checkpoint& checkpoint, const std::string& tap,
                           const std::vector<std::string>& readers, std::size_t columns,
                           double alpha) {
  ObserverOptions absmax;
  absmax.name = "absmax";
  const auto observers =
      calibrate(checkpoint.architecture(), checkpoint, some_data(),
                {{tap, absmax, ColumnGroups::channels(static_cast<std::int64_t>(columns))}}, {});
  const std::vector<Range> inputs = observers[0]->ranges();
  std::vector<double> factors;
  for (std::size_t j = 0; j < columns; ++j) {
    double largest = 0.0;
    for (const std::string& reader : readers) {
      const auto w = values_of(checkpoint, reader + ".weight");
      for (std::size_t i = j; i < w.size(); i += columns) {
        largest = std::max(largest, std::fabs(static_cast<double>(w[i])));
      }
    }
    factors.push_back(std::pow(static_cast<double>(inputs[j].max), alpha) /
                      std::pow(largest, 1.0 - alpha));
  }
  return factors;
}

TEST(Smooth, IsTheDirectFormula) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const Recipe recipe = recipe_of(
      "weights: {bits: 8}\ntransforms: [{name: smooth, alpha: 0.8, projections: true}]\n");
  const auto source = apply_transforms(checkpoint, recipe, some_data(), {});
  const std::string up = kBlock + "mlp.up_proj", gate = kBlock + "mlp.gate_proj";
  const std::string down = kBlock + "mlp.down_proj", norm = kBlock + "mlp_norm.weight";
  const auto in = direct(checkpoint, gate + ".input", {gate, up}, 64, 0.8);
  const auto inner = direct(checkpoint, down + ".input", {down}, 100, 0.8);
  // Columns by the group of the norm, rows by that of the down projection.
  const auto before = values_of(checkpoint, up + ".weight");
  const auto after = values_of(*source, up + ".weight");
  for (std::size_t r = 0; r < 100; ++r) {
    for (std::size_t c = 0; c < 64; ++c) {
      const double expected = static_cast<double>(before[r * 64 + c]) * in[c] / inner[r];
      EXPECT_NEAR(after[r * 64 + c], expected, 1e-6 * std::fabs(expected));
    }
  }
  const auto norm_before = values_of(checkpoint, norm), norm_after = values_of(*source, norm);
  for (std::size_t c = 0; c < 64; ++c) {
    EXPECT_NEAR(norm_after[c] * in[c], norm_before[c], 1e-6 * std::fabs(norm_before[c]));
  }
  // Its head is tied.
  EXPECT_EQ(values_of(*source, "model.norm.weight"), values_of(checkpoint, "model.norm.weight"));
}

TEST(Smooth, FoldsIntoProjectionsOnlyIfAsked) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const auto source = apply_transforms(
      checkpoint, recipe_of("weights: {bits: 8}\ntransforms: [{name: smooth}]\n"), some_data(), {});
  const std::string down = kBlock + "mlp.down_proj.weight", up = kBlock + "mlp.up_proj.weight";
  EXPECT_EQ(values_of(*source, down), values_of(checkpoint, down));
  EXPECT_NE(values_of(*source, up), values_of(checkpoint, up));
}

TEST(Smooth, LeavesDeadChannelsAndFloorsSmallOnes) {
  EXPECT_EQ(smooth_factor(0.0f, 3.0f, 0.5), 1.0f);
  EXPECT_EQ(smooth_factor(3.0f, 0.0f, 0.5), 1.0f);
  EXPECT_FLOAT_EQ(smooth_factor(8.0f, 2.0f, 0.5), 2.0f);
  EXPECT_FLOAT_EQ(smooth_factor(1e-9f, 1e-9f, 0.5), 1.0f);
  EXPECT_FLOAT_EQ(smooth_factor(1e-9f, 1.0f, 1.0), 1e-5f);
}

TEST(Smooth, RecipesAreChecked) {
  const auto rejects = [](const std::string& transforms) {
    EXPECT_THROW(recipe_of("weights: {bits: 8}\ntransforms: " + transforms + "\n"), Error)
        << transforms;
  };
  for (const char* bad : {"smooth", "[smooth]", "[{alpha: 0.5}]", "[{name: smoth}]",
                          "[{name: smooth, alpha: 1.5}]", "[{name: smooth, alpha: .nan}]",
                          "[{name: smooth, beta: 1}]", "[{name: smooth}, {name: smooth}]"}) {
    rejects(bad);
  }
  const Recipe recipe = recipe_of("weights: {bits: 8}\ntransforms: [{name: smooth, alpha: 0.85}]");
  EXPECT_EQ(recipe.transform, (TransformOptions{"smooth", 0.85, false}));
  EXPECT_FALSE(recipe_of("weights: {bits: 8}\ntransforms: []\n").transform);
}

}  // namespace
}  // namespace aquatint
