// What must not change the numbers: how a text is cut into runs, saving and restoring a state, the
// other sequences of a batch, the number of threads.
#include "models/model.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/threads.h"
#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::all_logits;
using testing::golden_variant;
using testing::make_checkpoint;
using testing::max_difference;
using testing::random_tokens;
using testing::TempFolder;
using testing::Tokens;

constexpr float kTolerance = 1e-4f;

// Logits of every token, the text given in pieces of the lengths `next` returns.
template <typename Next>
std::vector<float> logits_in_pieces(Model& model, std::span<const std::int32_t> tokens,
                                    const Next& next) {
  SequenceState state = model.new_state();
  std::vector<float> logits;
  for (std::size_t at = 0; at < tokens.size();) {
    const std::size_t n = std::min(tokens.size() - at, next());
    const auto part = all_logits(model, tokens.subspan(at, n), state);
    logits.insert(logits.end(), part.begin(), part.end());
    at += n;
  }
  EXPECT_EQ(state.length(), static_cast<std::int64_t>(tokens.size()));
  return logits;
}

// Mixes single steps, short and long pieces. Few distinct lengths, since each costs the matrix
// library a compilation per shape.
std::size_t random_piece(std::mt19937& random) {
  constexpr std::size_t kLengths[] = {1, 1, 1, 2, 5, 17, 33, 64};
  return kLengths[random() % std::size(kLengths)];
}

void expect_any_split(Model& model, std::int64_t tokens) {
  const Tokens text = random_tokens(tokens, model.vocab_size(), 5);
  const auto whole = all_logits(model, text);
  EXPECT_LT(max_difference(logits_in_pieces(model, text, [] { return std::size_t{1}; }), whole),
            kTolerance);
  for (std::uint32_t seed = 0; seed < 3; ++seed) {
    std::mt19937 random(seed);
    const auto pieces = logits_in_pieces(model, text, [&] { return random_piece(random); });
    EXPECT_LT(max_difference(pieces, whole), kTolerance) << "seed " << seed;
  }
}

// A golden variant of any family, and its name in that of a test.
struct Variant {
  const char* family;
  const char* name;

  std::filesystem::path folder() const { return golden_variant(name, family); }
};

std::string test_name(const ::testing::TestParamInfo<Variant>& row) {
  return std::string(row.param.family) + "_" + row.param.name;
}

class SplitsOfVariant : public ::testing::TestWithParam<Variant> {};

TEST_P(SplitsOfVariant, GiveTheSameLogits) {
  Model model = Model::load(Checkpoint::open(GetParam().folder()), {});
  expect_any_split(model, 150);
}

// Every way to cut a text in two, prompts shorter than the convolution among them.
TEST_P(SplitsOfVariant, AtEveryPosition) {
  Model model = Model::load(Checkpoint::open(GetParam().folder()), {});
  const Tokens text = random_tokens(40, model.vocab_size(), 6);
  const auto whole = all_logits(model, text);
  for (std::size_t first = 1; first < text.size(); ++first) {
    std::size_t next = first;
    const auto pieces =
        logits_in_pieces(model, text, [&] { return std::exchange(next, text.size() - first); });
    EXPECT_LT(max_difference(pieces, whole), kTolerance) << "cut after " << first;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Golden, SplitsOfVariant,
    ::testing::Values(Variant{"gla", "plain"}, Variant{"gla", "conv"}, Variant{"gla", "conv_1"},
                      Variant{"gla", "conv_8"}, Variant{"gla", "kv_heads_2"},
                      Variant{"gla", "steep_gates"}, Variant{"gla", "hybrid"},
                      Variant{"gla", "hybrid_window"}, Variant{"mamba", "plain"},
                      Variant{"mamba", "odd_sizes"}, Variant{"mamba", "one_tap"},
                      Variant{"mamba", "long_conv"}, Variant{"mamba2", "plain"},
                      Variant{"mamba2", "groups_2"}, Variant{"mamba2", "odd_sizes"},
                      Variant{"mamba2", "original_narrow"}),
    test_name);

class TrainedModel : public ::testing::TestWithParam<const char*> {};

TEST_P(TrainedModel, AnySplitGivesTheSameLogits) {
  AQUATINT_SHARED_PATH(folder, std::string("models/") + GetParam());
  Model model = Model::load(Checkpoint::open(folder), {});
  expect_any_split(model, 150);
}

INSTANTIATE_TEST_SUITE_P(Models, TrainedModel,
                         ::testing::Values("gla", "gla-demo", "mamba", "mamba2"),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::erase(name, '-');
                           return name;
                         });

// Variants whose states differ in kind: matrices, windows, key-value caches.
class StateOfVariant : public ::testing::TestWithParam<Variant> {
 protected:
  StateOfVariant() : model_(Model::load(Checkpoint::open(GetParam().folder()), {})) {}
  Model model_;
  const Tokens first_ = random_tokens(20, 32, 1), second_ = random_tokens(20, 32, 2);
};

TEST_P(StateOfVariant, CloneContinuesAloneAndIdentically) {
  SequenceState state = model_.new_state();
  all_logits(model_, first_, state);
  SequenceState copy = state.clone();
  const auto expected = all_logits(model_, second_, state);
  EXPECT_EQ(copy.length(), 20);
  EXPECT_EQ(all_logits(model_, second_, copy), expected);
  EXPECT_EQ(copy.nbytes(), state.nbytes());
}

TEST_P(StateOfVariant, RestoringTensorsContinuesIdentically) {
  SequenceState state = model_.new_state();
  all_logits(model_, first_, state);
  auto saved = state.tensors();
  for (auto& [name, tensor] : saved) tensor = tensor.clone();
  const auto expected = all_logits(model_, second_, state);

  SequenceState restored = model_.new_state();
  all_logits(model_, second_, restored);  // what was there before is replaced
  restored.assign(saved, 20);
  EXPECT_EQ(restored.length(), 20);
  EXPECT_EQ(all_logits(model_, second_, restored), expected);
}

TEST_P(StateOfVariant, ResetForgetsEverything) {
  SequenceState state = model_.new_state();
  const auto expected = all_logits(model_, first_, state);
  state.reset();
  EXPECT_EQ(state.length(), 0);
  EXPECT_EQ(all_logits(model_, first_, state), expected);
}

TEST_P(StateOfVariant, ArchitecturePredictsItsSize) {
  SequenceState state = model_.new_state();
  all_logits(model_, first_, state);
  EXPECT_EQ(state.nbytes(), model_.state_bytes(20));
}

TEST_P(StateOfVariant, BatchOfSequencesEqualsOneByOne) {
  const std::int64_t lengths[] = {33, 1, 64, 0, 5};
  std::vector<Tokens> texts;
  std::vector<SequenceState> states;
  for (const std::int64_t length : lengths) {
    texts.push_back(random_tokens(length, 32, static_cast<std::uint32_t>(length)));
    states.push_back(model_.new_state());
  }
  std::vector<ModelInput> inputs;
  for (std::size_t i = 0; i < texts.size(); ++i) inputs.push_back({texts[i], &states[i]});
  std::vector<std::vector<float>> together(texts.size());
  for (int round = 0; round < 2; ++round) {  // the second continues the first
    model_.run(inputs, LogitsFor::kEveryToken,
               [&](std::size_t i, std::int64_t, std::int64_t n, const float* values) {
                 together[i].insert(together[i].end(), values, values + n * model_.vocab_size());
               });
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    SequenceState state = model_.new_state();
    auto alone = all_logits(model_, texts[i], state);
    const auto more = all_logits(model_, texts[i], state);
    alone.insert(alone.end(), more.begin(), more.end());
    EXPECT_LT(max_difference(together[i], alone), kTolerance) << "sequence " << i;
    EXPECT_EQ(state.length(), states[i].length());
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, StateOfVariant,
                         ::testing::Values(Variant{"gla", "plain"}, Variant{"gla", "conv"},
                                           Variant{"gla", "conv_1"}, Variant{"gla", "hybrid_list"},
                                           Variant{"mamba", "plain"}, Variant{"mamba", "one_tap"},
                                           Variant{"mamba2", "plain"},
                                           Variant{"mamba2", "original_narrow"}),
                         test_name);

TEST(SequenceState, RefusesTensorsOfAnotherModel) {
  const auto model_of = [](const char* variant) {
    return Model::load(Checkpoint::open(golden_variant(variant)), {});
  };
  const Model plain = model_of("plain"), conv = model_of("conv"), kv = model_of("kv_heads_2");
  SequenceState state = plain.new_state();
  const auto expect_mismatch = [&](const auto& tensors, const char* text) {
    testing::expect_error(ErrorKind::kCorrupt, text, [&] { state.assign(tensors, 1); });
  };
  expect_mismatch(conv.new_state().tensors(), "another number of tensors");
  expect_mismatch(kv.new_state().tensors(), "'recurrent' [2, 4, 8]");
  auto extra = plain.new_state().tensors();
  extra.emplace_back("2.recurrent", extra.front().second);
  expect_mismatch(extra, "'2.recurrent'");
}

TEST(Model, LogitsOfTheLastTokenAreThoseOfEveryToken) {
  Model model = Model::load(Checkpoint::open(golden_variant("plain")), {});
  const std::int64_t tokens = Model::kStepRows + 100;  // more than one step
  const Tokens text = random_tokens(tokens, model.vocab_size(), 3);
  const auto all = all_logits(model, text);
  SequenceState state = model.new_state();
  const auto last = model.run(text, state);
  const auto vocab = static_cast<std::size_t>(model.vocab_size());
  EXPECT_LT(max_difference(last, std::span(all).last(vocab)), kTolerance);
}

TEST(Model, OfABatchOnlyLastTokensWhereverTheyEnd) {
  Model model = Model::load(Checkpoint::open(golden_variant("plain")), {});
  // One ends in the first step and one alone in its last; the first run leaves only states.
  const std::int64_t lengths[] = {3, Model::kStepRows + 70, 1, Model::kStepRows / 2};
  std::vector<Tokens> texts;
  std::vector<SequenceState> states;
  for (const std::int64_t length : lengths) {
    texts.push_back(random_tokens(length, 32, static_cast<std::uint32_t>(length)));
    states.push_back(model.new_state());
  }
  std::vector<ModelInput> inputs;
  for (std::size_t i = 0; i < texts.size(); ++i) inputs.push_back({texts[i], &states[i]});
  model.run(inputs, LogitsFor::kNone, [](std::size_t, std::int64_t, std::int64_t, const float*) {});
  std::vector<std::vector<float>> last(texts.size());
  model.run(inputs, LogitsFor::kLastToken,
            [&](std::size_t i, std::int64_t first, std::int64_t n, const float* values) {
              EXPECT_EQ(first, lengths[i] - 1);
              EXPECT_EQ(n, 1);
              last[i].assign(values, values + model.vocab_size());
            });
  for (std::size_t i = 0; i < texts.size(); ++i) {
    Tokens twice = texts[i];
    twice.insert(twice.end(), texts[i].begin(), texts[i].end());
    const auto all = all_logits(model, twice);
    const auto vocab = static_cast<std::size_t>(model.vocab_size());
    EXPECT_LT(max_difference(last[i], std::span(all).last(vocab)), kTolerance) << "sequence " << i;
  }
}

std::vector<float> logits_with_threads(Model& model, const Tokens& text, int threads) {
  set_num_threads(threads);
  auto logits = all_logits(model, text);
  set_num_threads(1);
  return logits;
}

// Our own kernels promise the same bits for any number of threads, so a model whose products are
// all quantized does too. The matrix library of float products promises less.
TEST(Model, ThreadsDoNotChangeTheNumbers) {
  TempFolder folder;
  const auto dense =
      make_checkpoint(folder, "dense", R"({"hidden_size": 256, "num_heads": 4, "vocab_size": 500,
                           "intermediate_size": 512, "use_short_conv": true})");
  const auto w8a8 =
      testing::make_quantized(folder, "w8a8", dense, 8, 0, ActivationScheme::kInt8Dynamic);
  const auto w8a16 =
      testing::make_quantized(folder, "w8a16", dense, 8, 0, ActivationScheme::kFloat);
  for (const auto& path : {dense, w8a8, w8a16}) {
    Model model = Model::load(Checkpoint::open(path), {});
    for (const std::int64_t tokens : {1, 70}) {
      const Tokens text = random_tokens(tokens, model.vocab_size(), 3);
      const auto one = logits_with_threads(model, text, 1);
      const auto two = logits_with_threads(model, text, 2);
      if (path == dense) {
        EXPECT_LT(max_difference(one, two), 1e-5f);
      } else {
        EXPECT_EQ(one, two) << path << ", " << tokens << " tokens";
      }
    }
  }
}

TEST(Model, RefusesTokensOutsideTheVocabulary) {
  Model model = Model::load(Checkpoint::open(golden_variant("plain")), {});
  SequenceState state = model.new_state();
  for (const std::int32_t token : {-1, 32}) {
    const Tokens text = {1, token};
    testing::expect_error(ErrorKind::kInvalidArgument,
                          fmt::format("token {} is outside the model's vocabulary of 32", token),
                          [&] { model.run(text, state); });
  }
  EXPECT_EQ(state.length(), 0);
}

TEST(ModelTokens, AreChosenOfTheLogits) {
  const TempFolder temp;
  Model model = Model::load(Checkpoint::open(make_checkpoint(temp, "model")), {});
  testing::expect_tokens_of_logits(model);
}

}  // namespace
}  // namespace aquatint
