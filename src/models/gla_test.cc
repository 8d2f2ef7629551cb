#include "models/gla.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "models/model.h"
#include "testing/shared_data.h"

namespace aquatint {
namespace {

// Collects every "hidden.N" as rows.
class HiddenTaps : public TapSink {
 public:
  bool wants(const std::string& name) override { return name.starts_with("hidden."); }
  void record(const std::string& name, const float* values, std::int64_t rows,
              std::int64_t columns) override {
    auto& all = values_[name];
    all.insert(all.end(), values, values + rows * columns);
  }
  const std::map<std::string, std::vector<float>>& values() const { return values_; }

 private:
  std::map<std::string, std::vector<float>> values_;
};

float max_difference(std::span<const float> a, const Tensor& b) {
  EXPECT_EQ(static_cast<std::int64_t>(a.size()), b.numel());
  float worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const float difference = std::abs(a[i] - b.data<float>()[i]);
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

std::vector<float> all_logits(Model& model, std::span<const std::int32_t> tokens,
                              SequenceState& state) {
  std::vector<float> logits;
  const ModelInput input{tokens, &state};
  model.run(std::span(&input, 1), LogitsFor::kEveryToken,
            [&](std::size_t, std::int64_t, std::int64_t n, const float* values) {
              logits.insert(logits.end(), values, values + n * model.vocab_size());
            });
  return logits;
}

class GlaReference : public ::testing::TestWithParam<const char*> {};

TEST_P(GlaReference, LogitsAndHiddenValuesMatchThePythonImplementation) {
  AQUATINT_SHARED_PATH(folder, std::string("models/") + GetParam());
  const auto reference = SafetensorsSet::open_file(folder / "reference.safetensors");
  Model model = Model::load(Checkpoint::open(folder), {});
  for (const std::string name : {"case0", "case1"}) {
    const Tensor ids = reference.tensor(name + ".input_ids").clone();
    HiddenTaps taps;
    model.set_taps(&taps);
    SequenceState state = model.new_state();
    const std::span tokens(ids.data<std::int32_t>(), static_cast<std::size_t>(ids.numel()));
    const auto logits = all_logits(model, tokens, state);
    model.set_taps(nullptr);
    EXPECT_LT(max_difference(logits, reference.tensor(name + ".logits").clone()), 1e-4f);
    for (const auto& [tap, values] : taps.values()) {
      const float worst = max_difference(values, reference.tensor(name + "." + tap).clone());
      EXPECT_LT(worst, 1e-4f) << tap;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GlaReference, ::testing::Values("gla", "gla-demo"),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace aquatint
