#include "quantize/estimate.h"

#include <gtest/gtest.h>

#include "quantize/test_support.h"

namespace aquatint {
namespace {

TEST(Estimate, IsASmallTimeForASmallModelAndLeavesNothing) {
  const testing::SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  for (const char* yaml : {"weights: {bits: 4, group_size: 32}", "head: {weights: {bits: 8}}",
                           "embedding: {weights: {bits: 8}}"}) {
    const Plan plan = make_plan(checkpoint, testing::recipe_of(yaml));
    const double seconds = estimate_seconds(checkpoint, plan, model.path("not/there/out"));
    EXPECT_GT(seconds, 0) << yaml;
    EXPECT_LT(seconds, 60) << yaml;
  }
  EXPECT_EQ(model.temp().files(), (std::vector<std::string>{"model"}));
  const Plan plan = make_plan(checkpoint, testing::recipe_of("weights: {}"));
  EXPECT_GT(estimate_seconds(checkpoint, plan, "/proc/nothing/can/be/made"), 0);
  if (cuda_device_count() == 0) return;
  EXPECT_GT(estimate_seconds(checkpoint, plan, "not/there", {DeviceKind::kCuda, 0}), 0);
}

}  // namespace
}  // namespace aquatint
