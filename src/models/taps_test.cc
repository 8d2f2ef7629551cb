// Every matrix product of a model is seen by the taps, with its input and its output, and watching
// changes nothing.
#include <map>
#include <set>

#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::all_logits;
using testing::golden_variant;
using testing::max_difference;
using testing::random_tokens;
using testing::Tokens;

// Remembers every tap: its columns and the values of all rows.
class Recorder : public TapSink {
 public:
  struct Tap {
    std::int64_t columns = 0;
    std::vector<float> values;
  };
  bool wants(const std::string&) override { return true; }
  void record(const std::string& name, const float* values, std::int64_t rows,
              std::int64_t columns) override {
    Tap& tap = taps_[name];
    EXPECT_TRUE(tap.columns == 0 || tap.columns == columns) << name;
    tap.columns = columns;
    tap.values.insert(tap.values.end(), values, values + rows * columns);
  }
  const std::map<std::string, Tap>& taps() const { return taps_; }

 private:
  std::map<std::string, Tap> taps_;
};

// Wants nothing, but must be asked about everything.
class Asker : public TapSink {
 public:
  bool wants(const std::string& name) override {
    asked_.insert(name);
    return false;
  }
  void record(const std::string& name, const float*, std::int64_t, std::int64_t) override {
    ADD_FAILURE() << name << " was recorded though not wanted";
  }
  const std::set<std::string>& asked() const { return asked_; }

 private:
  std::set<std::string> asked_;
};

std::filesystem::path demo() {
  return testing::source_dir() / "assets/models/gla-demo";
}

std::vector<float> watched_logits(Model& model, const Tokens& text, TapSink& sink) {
  model.set_taps(&sink);
  auto logits = all_logits(model, text);
  model.set_taps(nullptr);
  return logits;
}

void expect_taps_of_table(const std::filesystem::path& folder) {
  Model model = Model::load(Checkpoint::open(folder), {});
  const std::int64_t rows = 9;
  const Tokens text = random_tokens(rows, model.vocab_size(), 1);
  Recorder recorder;
  watched_logits(model, text, recorder);

  std::set<std::string> expected, seen;
  for (const TensorSpec& spec : model.architecture().tensors()) {
    if (!is_linear(spec.role)) continue;
    const std::string own = spec.module() + ".input";
    expected.insert(own);
    const auto input = recorder.taps().find(own);
    const auto output = recorder.taps().find(spec.module() + ".output");
    ASSERT_NE(input, recorder.taps().end()) << own;
    EXPECT_EQ(input->second.values, recorder.taps().at(spec.tap).values) << own;
    ASSERT_NE(output, recorder.taps().end()) << spec.module();
    EXPECT_EQ(input->second.columns, spec.shape[1]) << spec.name;
    EXPECT_EQ(output->second.columns, spec.shape[0]) << spec.name;
    EXPECT_EQ(static_cast<std::int64_t>(input->second.values.size()), rows * spec.shape[1]);
    EXPECT_EQ(static_cast<std::int64_t>(output->second.values.size()), rows * spec.shape[0]);
  }
  for (const auto& [name, tap] : recorder.taps()) {
    if (name.ends_with(".input")) seen.insert(name);
  }
  EXPECT_EQ(seen, expected);
}

TEST(Taps, SeeEveryLinearOfTheTable) {
  expect_taps_of_table(demo());
  for (const char* variant : {"conv_3_kv_heads", "hybrid_window", "no_output_gate", "tied_head"}) {
    expect_taps_of_table(golden_variant(variant));
  }
  for (const char* variant : {"plain", "bias", "odd_sizes"}) {
    expect_taps_of_table(golden_variant(variant, "mamba"));
    expect_taps_of_table(golden_variant(variant, "mamba2"));
  }
  expect_taps_of_table(golden_variant("original_narrow", "mamba2"));
  expect_taps_of_table(golden_variant("plain", "gpt2"));
  expect_taps_of_table(golden_variant("biases", "llama"));
}

TEST(Taps, OutputsAreInputsTimesWeights) {
  const Checkpoint checkpoint = Checkpoint::open(golden_variant("hybrid_window"));
  Model model = Model::load(checkpoint, {});
  const std::int64_t rows = 5;
  Recorder recorder;
  watched_logits(model, random_tokens(rows, model.vocab_size(), 1), recorder);
  for (const TensorSpec& spec : model.architecture().tensors()) {
    if (!is_linear(spec.role)) continue;
    const LinearWeights weights = checkpoint.linear(spec.module());
    const Tensor w = std::get<Tensor>(weights.weight).to_f32();
    const Tensor bias = weights.bias.defined() ? weights.bias.to_f32() : Tensor();
    const auto& x = recorder.taps().at(spec.tap).values;
    std::vector<float> y;
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t n = 0; n < w.dim(0); ++n) {
        double sum = bias.defined() ? static_cast<double>(bias.data<float>()[n]) : 0.0;
        for (std::int64_t k = 0; k < w.dim(1); ++k) {
          sum += static_cast<double>(x[static_cast<std::size_t>(row * w.dim(1) + k)]) *
                 static_cast<double>(w.data<float>()[n * w.dim(1) + k]);
        }
        y.push_back(static_cast<float>(sum));
      }
    }
    EXPECT_LT(max_difference(recorder.taps().at(spec.module() + ".output").values, y), 1e-4f)
        << spec.module();
  }
}

TEST(Taps, MixersShowTheirInnerTensors) {
  Model model = Model::load(Checkpoint::open(golden_variant("hybrid_window")), {});
  Asker asker;
  watched_logits(model, random_tokens(3, model.vocab_size(), 1), asker);
  for (const char* name :
       {"model.layers.0.attn.q", "model.layers.0.attn.k", "model.layers.0.attn.v",
        "model.layers.0.attn.log_decay", "model.layers.0.attn.gate", "model.layers.0.attn.o",
        "model.layers.1.attn.q", "model.layers.1.attn.k", "model.layers.1.attn.v",
        "model.layers.1.attn.o", "hidden.0", "hidden.3"}) {
    EXPECT_EQ(asker.asked().count(name), 1u) << name;
  }
}

// Inner tensors of the two state-space mixers, and how many columns each has.
TEST(Taps, StateSpaceMixersShowTheirInnerTensors) {
  const auto columns_of = [](const std::string& variant, const std::string& family) {
    Model model = Model::load(Checkpoint::open(golden_variant(variant, family)), {});
    Recorder recorder;
    watched_logits(model, random_tokens(3, model.vocab_size(), 1), recorder);
    std::map<std::string, std::int64_t> columns;
    for (const char* name : {"conv_input", "x", "dt", "b", "c", "z", "y"}) {
      const auto tap = recorder.taps().find(fmt::format("backbone.layers.0.mixer.{}", name));
      if (tap == recorder.taps().end()) continue;
      columns[name] = tap->second.columns;
      EXPECT_EQ(static_cast<std::int64_t>(tap->second.values.size()), 3 * tap->second.columns);
    }
    return columns;
  };
  using Columns = std::map<std::string, std::int64_t>;
  EXPECT_EQ(columns_of("plain", "mamba"),
            (Columns{{"conv_input", 64}, {"x", 64}, {"dt", 64}, {"b", 16}, {"c", 16}, {"z", 64}}));
  EXPECT_EQ(
      columns_of("groups_2", "mamba2"),
      (Columns{
          {"conv_input", 128}, {"x", 64}, {"dt", 4}, {"b", 32}, {"c", 32}, {"z", 64}, {"y", 64}}));
}

// With taps, normalizations are computed apart from the quantization that they are fused with
// without; the numbers are the same to the last bit.
TEST(Taps, WatchingChangesNoBit) {
  testing::TempFolder folder;
  const auto w8a8 =
      testing::make_quantized(folder, "w8a8", demo(), 8, 0, ActivationScheme::kInt8Dynamic);
  const auto w4a16 =
      testing::make_quantized(folder, "w4a16", demo(), 4, 32, ActivationScheme::kFloat);
  for (const auto& path : {demo(), w8a8, w4a16, golden_variant("plain", "mamba"),
                           golden_variant("groups_2", "mamba2")}) {
    Model model = Model::load(Checkpoint::open(path), {});
    const Tokens text = random_tokens(9, model.vocab_size(), 1);
    const auto alone = all_logits(model, text);
    Recorder recorder;
    EXPECT_EQ(watched_logits(model, text, recorder), alone) << path;
  }
}

}  // namespace
}  // namespace aquatint
