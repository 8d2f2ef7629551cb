#include "quantize/static_scales.h"

#include <gtest/gtest.h>

#include <map>

#include "models/model.h"
#include "quantize/rounded_source.h"
#include "quantize/test_support.h"

namespace aquatint {
namespace {

constexpr const char* kStatic = R"(
weights: {bits: 8}
activations: {bits: 8, dynamic: false, symmetric: false, observer: min_max}
overrides:
  - {match: role:mlp_out, activations: {bits: 8, dynamic: false, observer: percentile}}
)";

CalibrationData some_data() {
  CalibrationData data;
  data.name = "test";
  for (int s = 0; s < 3; ++s) {
    data.sequences.emplace_back();
    for (int t = 0; t < 20 + s; ++t) data.sequences.back().push_back((t * 7 + s) % 50);
  }
  return data;
}

// Everything that the taps carry.
class Ranges : public TapSink {
 public:
  bool wants(const std::string&) override { return true; }
  void record(const std::string& name, const float* values, std::int64_t rows,
              std::int64_t columns) override {
    Range& range = ranges[name];
    for (std::int64_t i = 0; i < rows * columns; ++i) {
      range.min = std::min(range.min, values[i]);
      range.max = std::max(range.max, values[i]);
    }
  }
  std::map<std::string, Range> ranges;
};

std::vector<float> logits_of(Model& model, const std::vector<TokenId>& tokens) {
  std::vector<float> all;
  SequenceState state = model.new_state();
  for (const TokenId token : tokens) {
    const auto logits = model.run(std::span(&token, 1), state);
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

TEST(StaticScale, FollowsItsFormula) {
  EXPECT_EQ(static_scale({-1.0f, 2.0f}, true), (StaticScale{4.0f / 255.0f, 0}));
  EXPECT_EQ(static_scale({-1.0f, 2.0f}, false), (StaticScale{3.0f / 255.0f, -43}));
  // Zero is always on the grid.
  EXPECT_EQ(static_scale({1.0f, 2.0f}, false), (StaticScale{2.0f / 255.0f, -128}));
  EXPECT_EQ(static_scale({-2.0f, -1.0f}, false), (StaticScale{2.0f / 255.0f, 127}));
  EXPECT_EQ(static_scale({0.0f, 0.0f}, true), StaticScale{});
  EXPECT_EQ(static_scale({0.0f, 0.0f}, false), StaticScale{});
  EXPECT_EQ(static_scale({-1e-44f, 1e-44f}, true), StaticScale{});  // the scale would underflow
}

TEST(StaticScales, AreThoseOfWhatTheTapsCarry) {
  const testing::SmallModel small;
  const Checkpoint checkpoint = Checkpoint::open(small.folder());
  Plan plan = make_plan(checkpoint, testing::recipe_of(kStatic));
  EXPECT_TRUE(plan.needs_calibration());
  const CalibrationData data = some_data();
  calibrate_plan(checkpoint.architecture(), checkpoint, plan, data, {});
  EXPECT_FALSE(plan.needs_calibration());

  Model model = Model::load(checkpoint, {});
  Ranges seen;
  model.set_taps(&seen);
  for (const auto& sequence : data.sequences) {
    SequenceState state = model.new_state();
    model.run(sequence, state);
  }
  int checked = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    if (!tensor.scheme || tensor.spec->role == Role::kMlpOut) continue;
    // Its own tap, not the shared one: they carry the same.
    const StaticScale expected =
        static_scale(seen.ranges.at(tensor.spec->module() + ".input"), false);
    EXPECT_EQ(tensor.input, expected) << tensor.spec->module();
    ++checked;
  }
  EXPECT_GT(checked, 10);
}

TEST(StaticScales, AreObservedOncePerTap) {
  const testing::SmallModel small;
  const Checkpoint checkpoint = Checkpoint::open(small.folder());
  const Plan plan = make_plan(checkpoint, testing::recipe_of(kStatic));
  // A block has four inputs: of q, k, v and gate; o; gate and up; down.
  EXPECT_EQ(scale_requests(plan).size(), 2u * 4u);
}

TEST(StaticScales, OfSharedInputsMustAgree) {
  const testing::SmallModel small;
  const Checkpoint checkpoint = Checkpoint::open(small.folder());
  const Plan plan = make_plan(checkpoint, testing::recipe_of(R"(
weights: {bits: 8}
activations: {bits: 8, dynamic: false}
overrides:
  - {match: "name:*.k_proj", activations: {bits: 8, dynamic: false, observer: percentile}}
)"));
  try {
    scale_requests(plan);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("read the same values"), std::string::npos);
  }
}

// Written, read and run they are bit for bit what was calibrated.
TEST(StaticScales, SurviveAFile) {
  const testing::SmallModel small;
  const Checkpoint checkpoint = Checkpoint::open(small.folder());
  const Recipe recipe = testing::recipe_of(kStatic);
  Plan plan = make_plan(checkpoint, recipe);
  calibrate_plan(checkpoint.architecture(), checkpoint, plan, some_data(), {});
  QuantizeOptions options;
  options.output = small.path("out");
  quantize(checkpoint, recipe, plan, options);

  const Checkpoint written = Checkpoint::open(options.output);
  for (const TensorPlan& tensor : plan.tensors) {
    if (!tensor.scheme) continue;
    const LinearWeights weights = written.linear(tensor.spec->module());
    EXPECT_EQ(weights.input, tensor.input);
    EXPECT_EQ(weights.activations, tensor.scheme->activations);
  }
  RoundedTensors rounded(checkpoint, plan);
  Model in_memory =
      Model::load(checkpoint.shared_architecture(), RoundedSource(rounded), LoadOptions{});
  Model from_file = Model::load(written, LoadOptions{});
  const auto tokens = some_data().sequences.back();
  EXPECT_EQ(logits_of(in_memory, tokens), logits_of(from_file, tokens));
}

// Whatever the order of the data, unless an observer averages over batches.
TEST(StaticScales, DoNotDependOnTheOrder) {
  const testing::SmallModel small;
  const Checkpoint checkpoint = Checkpoint::open(small.folder());
  Plan plan = make_plan(checkpoint, testing::recipe_of(kStatic)), turned = plan;
  CalibrationData data = some_data();
  calibrate_plan(checkpoint.architecture(), checkpoint, plan, data, {});
  std::reverse(data.sequences.begin(), data.sequences.end());
  calibrate_plan(checkpoint.architecture(), checkpoint, turned, data, {});
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
    EXPECT_EQ(plan.tensors[i].input, turned.tensors[i].input) << plan.tensors[i].spec->name;
  }
}

}  // namespace
}  // namespace aquatint
