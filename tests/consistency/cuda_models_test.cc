// Whole models on a GPU: float32 against the Python implementations and the golden variants,
// integer execution against the CPU's tap by tap, and what must not change an answer: cutting a
// text into steps, batching, captured steps, running again. Skipped without a GPU.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>

#include "device/device.h"
#include "models/test_models.h"
#include "quantize/pipeline.h"
#include "text/tokenizer.h"

namespace aquatint {
namespace {

using testing::all_logits;
using testing::expect_matches_reference;
using testing::kLogitTolerance;
using testing::max_difference;
using testing::TempFolder;
using testing::Tokens;
using testing::values_of;

LoadOptions on(DeviceKind kind, std::optional<kernels::DenseType> compute = {}) {
  LoadOptions options;
  options.compute = compute;
  options.device = {kind, 0};
  return options;
}

Model load(const std::filesystem::path& folder, DeviceKind kind,
           std::optional<kernels::DenseType> compute = {}) {
  return Model::load(Checkpoint::open(folder), on(kind, compute));
}

class CudaModels : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  }
  const std::filesystem::path demo_ = testing::source_dir() / "assets/models/gla-demo";
};

// All taps of a run, by name.
class AllTaps : public TapSink {
 public:
  bool wants(const std::string&) override { return true; }
  void record(const std::string& name, const float* values, std::int64_t rows,
              std::int64_t columns) override {
    auto& all = taps[name];
    all.insert(all.end(), values, values + rows * columns);
  }
  std::map<std::string, std::vector<float>> taps;
};

TEST_F(CudaModels, GlaMatchesThePythonImplementation) {
  AQUATINT_SHARED_PATH(folder, "models/gla");
  expect_matches_reference(folder, on(DeviceKind::kCuda));
}

TEST_F(CudaModels, GlaDemoMatchesThePythonImplementation) {
  AQUATINT_SHARED_PATH(folder, "models/gla-demo");
  expect_matches_reference(folder, on(DeviceKind::kCuda));
}

TEST_F(CudaModels, LlamaMatchesThePythonImplementation) {
  AQUATINT_SHARED_PATH(folder, "models/llama");
  expect_matches_reference(folder, on(DeviceKind::kCuda));
}

TEST_F(CudaModels, EveryVariantOfTheConfigurationMatchesItsLogits) {
  for (const char* family : {"gla", "llama", "mistral", "qwen2"}) {
    for (const std::string& name : testing::golden_variants(family)) {
      const auto folder = testing::golden_variant(name, family);
      const auto golden = SafetensorsSet::open_file(folder / "expected.safetensors");
      const Tensor ids = golden.tensor("input_ids").clone();
      const std::span tokens(ids.data<std::int32_t>(), static_cast<std::size_t>(ids.numel()));
      Model model = load(folder, DeviceKind::kCuda, kernels::DenseType::kF32);
      const Tensor expected = golden.tensor("logits").clone();
      EXPECT_LT(max_difference(all_logits(model, tokens), values_of(expected)), kLogitTolerance)
          << family << "/" << name;
    }
  }
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  if (a.size() != b.size()) return 1e30;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  const double result = size > 0 ? std::sqrt(difference / size) : difference;
  return std::isnan(result) ? 1e30 : result;
}

std::filesystem::path quantized(const TempFolder& temp, const std::filesystem::path& source,
                                const std::string& recipe_name) {
  const Checkpoint checkpoint = Checkpoint::open(source);
  const Recipe recipe = Recipe::load(recipe_name);
  QuantizeOptions options;
  options.output = temp.path() / recipe_name;
  quantize(checkpoint, recipe, make_plan(checkpoint, recipe), options);
  return options.output;
}

// How far taps of the two devices may be apart, as a share of their size.
struct Bounds {
  double a8, a16;
};
// Of few tokens the arithmetic is the same but for the order of float32 sums: what remains is an
// activation here and there that rounds to the other neighbour, a step of 1/127 of the largest in
// its row (a8) or of 2^-8 of itself (a16).
constexpr Bounds kFewTokens{0.02, 0.01};
// Products of many tokens with grouped weights take the weights rounded to bfloat16, 2^-9 a value;
// and with many tokens more activations lie near enough to a boundary. Every step moved moves what
// follows, so that differences grow from block to block.
constexpr Bounds kManyTokens{0.06, 0.02};
// With bfloat16 in the recurrence, 2^-9 a value there too, many activations round to the other
// neighbour. That is noise like that of quantizing, and it adds up over blocks like it.
constexpr Bounds kBfloat16{0.1, 0.03};

void expect_devices_agree(const std::filesystem::path& folder, const Tokens& tokens,
                          kernels::DenseType compute, double bound, const std::string& name) {
  Model cpu = load(folder, DeviceKind::kCpu, compute);
  Model gpu = load(folder, DeviceKind::kCuda, compute);
  AllTaps cpu_taps, gpu_taps;
  cpu.set_taps(&cpu_taps);
  gpu.set_taps(&gpu_taps);
  const auto cpu_logits = all_logits(cpu, tokens);
  const auto gpu_logits = all_logits(gpu, tokens);
  ASSERT_EQ(cpu_taps.taps.size(), gpu_taps.taps.size());
  double worst = 0;
  std::string worst_tap;
  for (const auto& [tap, values] : cpu_taps.taps) {
    const double relative = relative_difference(gpu_taps.taps[tap], values);
    if (relative > worst) worst_tap = tap;
    worst = std::max(worst, relative);
  }
  const double logits = relative_difference(gpu_logits, cpu_logits);
  EXPECT_LT(worst, bound) << name << ", " << worst_tap;
  EXPECT_LT(logits, bound) << name;
  std::cout << name << ": worst tap " << worst_tap << " " << worst << ", logits " << logits << "\n";
}

TEST_F(CudaModels, QuantizedModelsAgreeWithTheCpuTapByTap) {
  std::vector<std::filesystem::path> models = {demo_};
  if (std::filesystem::exists(testing::shared_dir() / "models/gla")) {
    models.push_back(testing::shared_dir() / "models/gla");
  }
  for (const auto& source : models) {
    for (const char* recipe :
         {"w8a8-dynamic", "w8a8-dynamic-all", "w4a16", "w4a16-g32-asym", "w8a16", "w4a8-dynamic"}) {
      const TempFolder temp;
      const auto folder = quantized(temp, source, recipe);
      const std::string name = source.filename().string() + " " + recipe;
      const bool a8 = name.find("a8") != std::string::npos;
      const auto vocab = Checkpoint::open(source).architecture().vocab_size();
      const Tokens few = testing::random_tokens(7, vocab, 4);
      const Tokens many = testing::random_tokens(96, vocab, 3);
      const auto check = [&](const Tokens& tokens, kernels::DenseType compute, const Bounds& bounds,
                             const char* what) {
        expect_devices_agree(folder, tokens, compute, a8 ? bounds.a8 : bounds.a16, name + what);
      };
      check(few, kernels::DenseType::kBF16, kFewTokens, ", 7 tokens");
      check(many, kernels::DenseType::kF32, kManyTokens, ", 96 tokens, float32");
      check(many, kernels::DenseType::kBF16, kBfloat16, ", 96 tokens, bfloat16");
    }
  }
}

// Without taps nothing has to be float32: products leave as they are cheapest to make.
TEST_F(CudaModels, QuantizedModelsAgreeWithTheCpuWithoutTaps) {
  for (const std::string recipe : {"w8a8-dynamic", "w8a8-dynamic-all", "w4a16", "w8a16"}) {
    const TempFolder temp;
    const auto folder = quantized(temp, demo_, recipe);
    Model cpu = load(folder, DeviceKind::kCpu, kernels::DenseType::kBF16);
    Model gpu = load(folder, DeviceKind::kCuda, kernels::DenseType::kBF16);
    const Tokens tokens = testing::random_tokens(300, cpu.vocab_size(), 5);
    const double logits = relative_difference(all_logits(gpu, tokens), all_logits(cpu, tokens));
    const bool a8 = recipe.find("a8") != std::string::npos;
    EXPECT_LT(logits, a8 ? kBfloat16.a8 : kBfloat16.a16) << recipe;
    std::cout << recipe << ", 300 tokens without taps: logits " << logits << "\n";
  }
}

Tokens greedy(Model& model, Tokens tokens, std::int64_t count) {
  SequenceState state = model.new_state();
  Tokens generated;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto logits = model.run(tokens, state);
    tokens = {
        static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
    generated.push_back(tokens.front());
  }
  return generated;
}

TEST_F(CudaModels, GreedyTokensAreTheCpus) {
  std::vector<std::filesystem::path> models = {demo_};
  if (std::filesystem::exists(testing::shared_dir() / "models/gla")) {
    models.push_back(testing::shared_dir() / "models/gla");
  }
  for (const auto& folder : models) {
    const auto text =
        Tokenizer::open(folder).encode("The old man shut the door behind him, and", true);
    const Tokens prompt(text.begin(), text.end());
    Model cpu = load(folder, DeviceKind::kCpu), gpu = load(folder, DeviceKind::kCuda);
    EXPECT_EQ(greedy(gpu, prompt, 200), greedy(cpu, prompt, 200)) << folder;
  }
}

// Steps from the third on are captured ones.
TEST_F(CudaModels, TokensAreChosenOfTheLogits) {
  for (const auto compute : {kernels::DenseType::kF32, kernels::DenseType::kBF16}) {
    Model model = load(demo_, DeviceKind::kCuda, compute);
    testing::expect_tokens_of_logits(model);
  }
}

TEST_F(CudaModels, AnyCutOfATextGivesTheSameLogits) {
  Model model = load(demo_, DeviceKind::kCuda);
  const Tokens tokens = testing::random_tokens(150, model.vocab_size(), 9);
  const auto whole = all_logits(model, tokens);
  for (const std::size_t cut : {1u, 17u, 64u, 100u, 149u}) {
    SequenceState state = model.new_state();
    auto parts = all_logits(model, std::span(tokens).first(cut), state);
    for (std::size_t t = cut; t < tokens.size(); ++t) {  // captured from the second step on
      const auto logits = model.run(std::span(tokens).subspan(t, 1), state);
      parts.insert(parts.end(), logits.begin(), logits.end());
    }
    EXPECT_LT(max_difference(parts, whole), kLogitTolerance) << cut;
  }
}

TEST_F(CudaModels, ABatchIsItsSequences) {
  for (const auto compute : {kernels::DenseType::kF32, kernels::DenseType::kBF16}) {
    Model model = load(demo_, DeviceKind::kCuda, compute);
    const std::size_t lengths[] = {3, 70, 129, 200};
    std::vector<Tokens> texts;
    std::vector<SequenceState> states;
    std::vector<std::vector<float>> alone;
    for (const std::size_t length : lengths) {
      texts.push_back(testing::random_tokens(static_cast<std::int64_t>(length), model.vocab_size(),
                                             static_cast<std::uint32_t>(length)));
      states.push_back(model.new_state());
      SequenceState state = model.new_state();
      alone.emplace_back();
      for (const auto part : {std::span<const std::int32_t>(texts.back()),
                              std::span<const std::int32_t>(texts.back()).first(1)}) {
        const auto logits = model.run(part, state);
        alone.back().insert(alone.back().end(), logits.begin(), logits.end());
      }
    }
    std::vector<std::vector<float>> together(texts.size());
    const auto run = [&](bool first_token_only) {
      std::vector<ModelInput> inputs;
      for (std::size_t i = 0; i < texts.size(); ++i) {
        const std::span<const std::int32_t> text = texts[i];
        inputs.push_back({first_token_only ? text.first(1) : text, &states[i]});
      }
      model.run(inputs, LogitsFor::kLastToken,
                [&](std::size_t i, std::int64_t, std::int64_t, const float* logits) {
                  together[i].insert(together[i].end(), logits, logits + model.vocab_size());
                });
    };
    run(false);
    run(true);
    // Rows of a larger product may be summed in another order, and then round to the other
    // neighbour where the arithmetic is bfloat16.
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (compute == kernels::DenseType::kF32) {
        EXPECT_LT(max_difference(together[i], alone[i]), kLogitTolerance) << i;
      } else {
        EXPECT_LT(relative_difference(together[i], alone[i]), kBfloat16.a16) << i;
      }
    }
  }
}

TEST_F(CudaModels, RunningAgainGivesTheSameBits) {
  const TempFolder temp;
  for (const auto& folder :
       {demo_, quantized(temp, demo_, "w8a8-dynamic"), quantized(temp, demo_, "w4a16")}) {
    Model model = load(folder, DeviceKind::kCuda, kernels::DenseType::kBF16);
    const Tokens tokens = testing::random_tokens(300, model.vocab_size(), 2);
    const auto first = all_logits(model, tokens), second = all_logits(model, tokens);
    EXPECT_EQ(first, second) << folder;
    EXPECT_EQ(greedy(model, tokens, 20), greedy(model, tokens, 20)) << folder;
  }
}

TEST_F(CudaModels, PerplexityIsTheCpus) {
  AQUATINT_SHARED_PATH(folder, "models/gla");
  AQUATINT_SHARED_PATH(text, "data/books_valid.txt");
  const std::string start = [&] {
    std::string content(4000, '\0');
    std::ifstream(text).read(content.data(), 4000);
    return content;
  }();
  const auto ids = Tokenizer::open(folder).encode(start, true);
  const Tokens tokens(ids.begin(), ids.begin() + std::min<std::ptrdiff_t>(512, std::ssize(ids)));
  std::map<DeviceKind, double> losses;
  for (const DeviceKind kind : {DeviceKind::kCpu, DeviceKind::kCuda}) {
    Model model = load(folder, kind);
    const auto vocab = static_cast<std::size_t>(model.vocab_size());
    const auto logits = all_logits(model, tokens);
    for (std::size_t t = 0; t + 1 < tokens.size(); ++t) {
      const float* row = logits.data() + t * vocab;
      double sum = 0;
      for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(row[i]));
      losses[kind] += std::log(sum) - static_cast<double>(row[tokens[t + 1]]);
    }
    losses[kind] /= static_cast<double>(tokens.size() - 1);
  }
  const double ratio = std::exp(losses[DeviceKind::kCuda] - losses[DeviceKind::kCpu]);
  EXPECT_NEAR(ratio, 1, 0.001);
  std::cout << "perplexity: GPU / CPU " << ratio << "\n";
}

}  // namespace
}  // namespace aquatint
