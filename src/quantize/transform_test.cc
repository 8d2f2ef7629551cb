// Every transform of the registry leaves every architecture's function as it was, whatever the
// statistics say.
#include "quantize/transform.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "models/model.h"
#include "quantize/test_support.h"
#include "testing/shared_data.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;

std::vector<float> logits_of(const Checkpoint& checkpoint, const WeightSource& source) {
  Model model = Model::load(checkpoint.shared_architecture(), source, {});
  const std::vector<std::int32_t> tokens = {1, 7, 3, 12, 11, 5, 5, 0, 2, 9};
  return testing::logits_of(std::move(model), tokens);
}

// Observers of the requests that saw made-up values, some channels none at all.
std::vector<std::unique_ptr<Observer>> made_up(const Architecture& architecture,
                                               const std::vector<TapRequest>& requests) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<std::unique_ptr<Observer>> observers;
  for (const TapRequest& request : requests) {
    std::int64_t columns = 0;
    for (const TensorSpec& spec : architecture.tensors()) {
      if (spec.tap == request.tap) columns = spec.shape[1];
    }
    std::vector<float> values(static_cast<std::size_t>(columns));
    for (float& value : values) value = std::exp(2.0f * normal(random));
    values[0] = 0.0f;
    observers.push_back(make_observer(request.observer, request.groups));
    observers.back()->observe(values.data(), 1, columns);
  }
  return observers;
}

void expect_equivalent(const fs::path& folder, const TransformEntry& transform,
                       const TransformOptions& options) {
  SCOPED_TRACE(folder.string());
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const Architecture& architecture = checkpoint.architecture();
  const auto requests = transform.requests(architecture, checkpoint, options);
  EXPECT_FALSE(requests.empty());
  const auto source =
      transform.apply(architecture, checkpoint, made_up(architecture, requests), options);
  const std::vector<float> before = logits_of(checkpoint, checkpoint);
  const std::vector<float> after = logits_of(checkpoint, *source);
  ASSERT_EQ(before.size(), after.size());
  float largest = 0.0f, difference = 0.0f;
  for (std::size_t i = 0; i < before.size(); ++i) {
    largest = std::max(largest, std::fabs(before[i]));
    difference = std::max(difference, std::fabs(before[i] - after[i]));
  }
  EXPECT_LE(difference, 1e-4f * largest);
  EXPECT_GT(difference, 0.0f);
}

class TransformedFamily : public ::testing::TestWithParam<const char*> {};

TEST_P(TransformedFamily, TransformsLeaveEveryVariantAsItWas) {
  const fs::path family = testing::source_dir() / "tests/golden" / GetParam();
  for (const TransformEntry& transform : transform_registry()) {
    for (const bool projections : {false, true}) {
      SCOPED_TRACE(transform.name);
      TransformOptions options;
      options.name = transform.name;
      options.projections = projections;
      for (const auto& entry : fs::directory_iterator(family)) {
        if (entry.is_directory()) expect_equivalent(entry.path(), transform, options);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Transforms, TransformedFamily,
                         ::testing::Values("gla", "gpt2", "llama", "mamba", "mamba2", "minicpm",
                                           "mistral", "qwen2"),
                         [](const auto& family) { return std::string(family.param); });

}  // namespace
}  // namespace aquatint
