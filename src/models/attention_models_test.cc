// Models with attention - Llama, Mistral, Qwen2, MiniCPM, GPT-2 - against the logits of
// transformers, on one small checkpoint for each thing their configurations can ask for
// (tools/make_golden.py), and what must hold of each of them: any split of a text, saved states,
// batches, taps, quantized executions.
#include <cmath>
#include <map>

#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::all_logits;
using testing::golden_variant;
using testing::max_difference;
using testing::random_tokens;
using testing::TempFolder;
using testing::Tokens;

constexpr const char* kFamilies[] = {"llama", "mistral", "qwen2", "minicpm", "gpt2"};

struct Variant {
  std::string family, name;
  std::filesystem::path folder() const { return golden_variant(name, family); }
};

std::vector<Variant> all_variants() {
  std::vector<Variant> variants;
  for (const char* family : kFamilies) {
    for (const std::string& name : testing::golden_variants(family)) {
      variants.push_back({family, name});
    }
  }
  return variants;
}

std::string variant_name(const ::testing::TestParamInfo<Variant>& row) {
  return row.param.family + "_" + row.param.name;
}

class AttentionVariant : public ::testing::TestWithParam<Variant> {
 protected:
  Model model() const { return Model::load(Checkpoint::open(GetParam().folder()), {}); }
};

TEST_P(AttentionVariant, LogitsMatchTransformers) {
  testing::expect_matches_golden(GetParam().folder());
}

TEST_P(AttentionVariant, EverySplitIntoPrefillAndDecodeGivesTheSameLogits) {
  Model m = model();
  const Tokens text = random_tokens(24, m.vocab_size(), 3);
  const auto whole = all_logits(m, text);
  const auto vocab = static_cast<std::size_t>(m.vocab_size());
  for (std::size_t split = 1; split < text.size(); ++split) {
    SequenceState state = m.new_state();
    auto logits = all_logits(m, std::span(text).first(split), state);
    for (std::size_t at = split; at < text.size(); ++at) {
      const auto last = m.run(std::span(text).subspan(at, 1), state);
      logits.insert(logits.end(), last.begin(), last.end());
    }
    ASSERT_EQ(logits.size(), text.size() * vocab);
    EXPECT_LT(max_difference(logits, whole), testing::kLogitTolerance) << "split " << split;
  }
}

TEST_P(AttentionVariant, StatesAreRestoredAndOfThePredictedSize) {
  Model m = model();
  const Tokens first = random_tokens(20, m.vocab_size(), 1);
  const Tokens second = random_tokens(20, m.vocab_size(), 2);
  SequenceState state = m.new_state();
  all_logits(m, first, state);
  EXPECT_EQ(state.nbytes(), m.state_bytes(20));
  auto saved = state.tensors();
  for (auto& [name, tensor] : saved) tensor = tensor.clone();
  SequenceState copy = state.clone();
  const auto expected = all_logits(m, second, state);
  EXPECT_EQ(all_logits(m, second, copy), expected);
  SequenceState restored = m.new_state();
  restored.assign(saved, 20);
  EXPECT_EQ(all_logits(m, second, restored), expected);
}

TEST_P(AttentionVariant, BatchOfSequencesEqualsOneByOne) {
  Model m = model();
  std::vector<Tokens> texts;
  std::vector<SequenceState> states;
  for (const std::int64_t length : {33, 1, 40, 0, 5}) {
    texts.push_back(random_tokens(length, m.vocab_size(), static_cast<std::uint32_t>(length)));
    states.push_back(m.new_state());
  }
  std::vector<ModelInput> inputs;
  for (std::size_t i = 0; i < texts.size(); ++i) inputs.push_back({texts[i], &states[i]});
  std::vector<std::vector<float>> together(texts.size());
  m.run(inputs, LogitsFor::kEveryToken,
        [&](std::size_t i, std::int64_t, std::int64_t n, const float* values) {
          together[i].insert(together[i].end(), values, values + n * m.vocab_size());
        });
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_LT(max_difference(together[i], all_logits(m, texts[i])), testing::kLogitTolerance);
  }
}

// Remembers the columns of every tap that ends in ".input" or ".output".
class Columns : public TapSink {
 public:
  bool wants(const std::string&) override { return true; }
  void record(const std::string& name, const float*, std::int64_t, std::int64_t columns) override {
    columns_[name] = columns;
  }
  std::int64_t of(const std::string& name) const {
    const auto found = columns_.find(name);
    return found == columns_.end() ? -1 : found->second;
  }

 private:
  std::map<std::string, std::int64_t> columns_;
};

TEST_P(AttentionVariant, TapsSeeEveryProductOfTheTable) {
  Model m = model();
  Columns columns;
  m.set_taps(&columns);
  all_logits(m, random_tokens(5, m.vocab_size(), 1));
  m.set_taps(nullptr);
  for (const TensorSpec& spec : m.architecture().tensors()) {
    if (!is_linear(spec.role)) continue;
    EXPECT_EQ(columns.of(spec.tap), spec.shape[1]) << spec.name;
    EXPECT_EQ(columns.of(spec.module() + ".output"), spec.shape[0]) << spec.name;
  }
}

// Mean square of a - b as a share of that of b.
double relative_error(std::span<const float> a, std::span<const float> b) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return error / size;
}

// Both executions of the quantized copy are near each other, and no further from float32 than
// rounding to 8 bits puts them.
TEST_P(AttentionVariant, QuantizedExecutionsAgree) {
  const TempFolder folder;
  Model m = model();
  const Tokens text = random_tokens(40, m.vocab_size(), 3);
  const auto expected = all_logits(m, text);
  const std::pair<const char*, ActivationScheme> cases[] = {
      {"w8a8", ActivationScheme::kInt8Dynamic}, {"w8a16", ActivationScheme::kFloat}};
  for (const auto& [name, activations] : cases) {
    const auto path = testing::make_quantized(folder, name, GetParam().folder(), 8, 0, activations);
    LoadOptions options;
    options.compute = kernels::DenseType::kF32;
    Model integer = Model::load(Checkpoint::open(path), options);
    options.execution = Execution::kSimulated;
    Model simulated = Model::load(Checkpoint::open(path), options);
    const auto logits = all_logits(integer, text);
    EXPECT_LT(relative_error(logits, expected), 0.02) << name;
    EXPECT_LT(relative_error(logits, all_logits(simulated, text)), 2e-3) << name;
  }
}

// Caches of fewer bits move the logits little, predict their size, and hold the same numbers for a
// prompt as for single tokens: what is attended to has gone through the cache in either case.
TEST_P(AttentionVariant, CompactCachesAreNearFloat32) {
  const Tokens text = random_tokens(40, 40, 3);
  Model reference = model();
  const auto expected = all_logits(reference, text);
  const std::tuple<kernels::KvType, double> cases[] = {{kernels::KvType::kBF16, 1e-3},
                                                       {kernels::KvType::kInt8, 1e-2}};
  for (const auto& [type, bound] : cases) {
    LoadOptions options;
    options.kv_cache = type;
    Model m = Model::load(Checkpoint::open(GetParam().folder()), options);
    SequenceState state = m.new_state();
    const auto logits = all_logits(m, text, state);
    EXPECT_LT(relative_error(logits, expected), bound) << static_cast<int>(type);
    EXPECT_EQ(state.nbytes(), m.state_bytes(40));
    EXPECT_LT(state.nbytes(), reference.state_bytes(40));

    SequenceState stepped = m.new_state();
    std::vector<float> steps;
    for (const std::int32_t token : text) {
      const auto last = m.run(std::span(&token, 1), stepped);
      steps.insert(steps.end(), last.begin(), last.end());
    }
    EXPECT_LT(relative_error(steps, logits), 0.1 * bound) << static_cast<int>(type);

    auto saved = state.tensors();
    for (auto& [name, tensor] : saved) tensor = tensor.clone();
    SequenceState restored = m.new_state();
    restored.assign(saved, 40);
    const Tokens more = {1, 2, 3};
    EXPECT_EQ(all_logits(m, more, restored), all_logits(m, more, state));
    SequenceState other = reference.new_state();
    testing::expect_error(ErrorKind::kCorrupt, "saved state does not fit this model",
                          [&] { other.assign(saved, 40); });
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, AttentionVariant, ::testing::ValuesIn(all_variants()),
                         variant_name);

TEST(AttentionVariants, SpellingsOfOneFunctionGiveTheSameBits) {
  const std::tuple<const char*, const char*, const char*> pairs[] = {
      {"llama", "plain", "old_buffers"},
      {"llama", "rope_theta", "rope_parameters"},
      {"llama", "rope_llama3", "rope_llama3_parameters"},
      {"qwen2", "plain", "unused_window"},
      {"gpt2", "plain", "no_prefix"}};
  for (const auto& [family, one, other] : pairs) {
    EXPECT_EQ(testing::expect_matches_golden(golden_variant(one, family)),
              testing::expect_matches_golden(golden_variant(other, family)))
        << family << " " << one << " and " << other;
  }
}

}  // namespace
}  // namespace aquatint
