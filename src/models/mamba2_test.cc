// Mamba-2 checkpoints against the implementations they must agree with, and configurations that
// must be understood or refused.
#include "models/mamba2.h"

#include "models/test_models.h"

namespace aquatint {
namespace {

TEST(Mamba2Reference, LogitsAndHiddenValuesMatchThePythonImplementation) {
  AQUATINT_SHARED_PATH(folder, "models/mamba2");
  testing::expect_matches_reference(folder, {},
                                    {.hidden = testing::HiddenValues::kAfter, .rounding = 5e-6f});
}

}  // namespace
}  // namespace aquatint
