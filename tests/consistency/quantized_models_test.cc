// Whole trained models, quantized by every built-in recipe and some others: integer execution
// agrees with simulated execution, files read back to the integers that were rounded, and the
// divergence from float32 is where an independent probe in NumPy puts nearest rounding.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>

#include "base/threads.h"
#include "formats/test_support.h"
#include "models/model.h"
#include "quantize/builtin_recipes.h"
#include "quantize/pipeline.h"
#include "quantize/rounding.h"
#include "quantize/static_scales.h"
#include "testing/shared_data.h"
#include "text/tokenizer.h"

namespace aquatint {
namespace {

constexpr std::size_t kTokens = 768, kComparedTokens = 96;

// Each role its own numbers: groups, rows, zero points, 8-bit activations in some products only.
constexpr const char* kMixed = R"(
weights: {bits: 4, group_size: 32, symmetric: false}
overrides:
  - {match: role:mlp_out, weights: {bits: 8}, activations: {bits: 8}}
  - {match: role:mixer_out, weights: {bits: 8, granularity: tensor}}
  - {match: role:low_rank_gate, weights: {bits: 8, granularity: row, symmetric: false}}
  - {match: "re:.*(layers|h)\\.0\\..*", keep: true}
)";
constexpr const char* kHeadAndTable = R"(
weights: {bits: 4, group_size: 64}
head: {weights: {bits: 4, group_size: 32, symmetric: false}}
embedding: {weights: {bits: 8}}
)";

using Logits = std::vector<float>;

Logits all_logits(Model& model, const std::vector<std::int32_t>& tokens) {
  SequenceState state = model.new_state();
  const ModelInput input{tokens, &state};
  const auto vocab = static_cast<std::size_t>(model.vocab_size());
  Logits logits(tokens.size() * vocab);
  model.run({&input, 1}, LogitsFor::kEveryToken,
            [&](std::size_t, std::int64_t first, std::int64_t n, const float* values) {
              std::copy(values, values + static_cast<std::size_t>(n) * vocab,
                        logits.begin() + first * static_cast<std::int64_t>(vocab));
            });
  return logits;
}

// Mean over tokens of the divergence of softmax(model) from softmax(reference), in nats.
double mean_kld(const Logits& model, const Logits& reference, std::size_t vocab) {
  double total = 0;
  const std::size_t tokens = model.size() / vocab;
  for (std::size_t t = 0; t < tokens; ++t) {
    const float* a = reference.data() + t * vocab;
    const float* b = model.data() + t * vocab;
    const double top_a = *std::max_element(a, a + vocab), top_b = *std::max_element(b, b + vocab);
    double sum_a = 0, sum_b = 0, cross = 0;
    for (std::size_t i = 0; i < vocab; ++i) {
      const double p = std::exp(a[i] - top_a);
      sum_a += p;
      sum_b += std::exp(b[i] - top_b);
      cross += p * ((a[i] - top_a) - (b[i] - top_b));
    }
    total += cross / sum_a - std::log(sum_a) + std::log(sum_b);
  }
  return total / static_cast<double>(tokens);
}

struct Trained {
  std::filesystem::path folder, text;
  // Divergence between the executions with 8-bit activations, as a share of that from float32.
  double share = 0.5;
  // How much further than in other models the executions may be apart: sharp attention magnifies.
  double spread = 1;

  Checkpoint checkpoint() const { return Checkpoint::open(folder); }
  std::vector<std::int32_t> tokens() const {
    std::ifstream file(text);
    std::string start(kTokens * 6, '\0');
    file.read(start.data(), static_cast<std::streamsize>(start.size()));
    auto ids = Tokenizer::open(folder).encode(start, true);
    ids.resize(std::min(ids.size(), kTokens));
    return {ids.begin(), ids.end()};
  }
};

Recipe recipe_named(const std::string& name) {
  if (name == "mixed") return Recipe::parse(kMixed, "mixed.yaml");
  if (name == "head-and-table") return Recipe::parse(kHeadAndTable, "head-and-table.yaml");
  return Recipe::load(name);
}

// A plan with the scales of static activations, made of these tokens.
Plan calibrated_plan(const Checkpoint& checkpoint, const Recipe& recipe,
                     const std::vector<std::int32_t>& tokens) {
  Plan plan = make_plan(checkpoint, recipe);
  CalibrationData data;
  data.name = "test";
  data.sequences = {{tokens.begin(), tokens.end()}};
  if (plan.needs_calibration())
    calibrate_plan(checkpoint.architecture(), checkpoint, plan, data, {});
  return plan;
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names = {"mixed", "head-and-table"};
  for (const BuiltinRecipe& builtin : builtin_recipes()) names.push_back(builtin.name);
  return names;
}

Logits logits_of(const std::filesystem::path& folder, Execution execution,
                 const std::vector<std::int32_t>& tokens) {
  LoadOptions options;
  options.compute = kernels::DenseType::kF32;
  options.execution = execution;
  Model model = Model::load(Checkpoint::open(folder), options);
  return all_logits(model, tokens);
}

// The integers in the files are those that rounding the original gives.
void expect_reads_back(const Checkpoint& original, const Plan& plan,
                       const std::filesystem::path& folder) {
  const Checkpoint written = Checkpoint::open(folder);
  for (const TensorPlan& t : plan.tensors) {
    if (!t.scheme) continue;
    const std::string module = t.spec->module();
    const bool table = t.spec->role == Role::kEmbedding;
    const Tensor source = table ? std::get<Tensor>(original.embedding(module))
                                : std::get<Tensor>(original.linear(module).weight);
    const auto expected = find_rounding(t.rounding).round(source, t.scheme->weights, t.dtype);
    if (!table) {
      EXPECT_EQ(written.linear(module).input, t.input) << module;
    }
    const auto found = table ? std::get<QuantizedMatrix>(written.embedding(module))
                             : std::get<QuantizedMatrix>(written.linear(module).weight);
    ASSERT_TRUE(found.scheme == expected.scheme) << module;
    const auto same = [](const Tensor& a, const Tensor& b) {
      return a.defined() == b.defined() &&
             (!a.defined() ||
              (a.shape() == b.shape() && std::memcmp(a.bytes(), b.bytes(), a.nbytes()) == 0));
    };
    EXPECT_TRUE(same(found.values, expected.values)) << module;
    EXPECT_TRUE(same(found.scales, expected.scales)) << module;
    EXPECT_TRUE(same(found.zero_points, expected.zero_points)) << module;
  }
}

// The inputs of all linear modules during a run.
class InputRecorder : public TapSink {
 public:
  bool wants(const std::string& name) override { return name.ends_with(".input"); }
  void record(const std::string& name, const float* values, std::int64_t rows,
              std::int64_t columns) override {
    const std::string module = name.substr(0, name.size() - std::string(".input").size());
    auto& [kept, count] = inputs[module];
    kept.insert(kept.end(), values, values + rows * columns);
    count += rows;
  }
  std::map<std::string, std::pair<std::vector<float>, std::int64_t>> inputs;
};

std::vector<float> multiply(const LinearWeights& weights, Execution execution,
                            const std::vector<float>& x, std::int64_t rows) {
  const Linear linear(weights, {kernels::DenseType::kF32, execution});
  Workspace workspace;
  ForwardContext context{workspace};
  LinearInput input = LinearInput::values(context, x.data(), rows, linear.columns());
  std::vector<float> y(static_cast<std::size_t>(rows * linear.outputs()));
  linear.forward(context, input, y.data());
  return y;
}

double root_mean_square(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += std::pow(static_cast<double>(value), 2);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

// Root mean square of a - b as a share of that of b.
double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return size > 0 ? std::sqrt(difference / size) : difference;
}

// Of the same inputs, here those of the model at work, both executions multiply the same integers
// and differ by the float32 rounding of up to 1024 terms: below 2e-6 of the result, unless the
// terms cancel. Those of a zero point do: the bias makes up for what it adds to every term.
void expect_products_agree(const std::filesystem::path& folder,
                           const std::vector<std::int32_t>& tokens, const std::string& name) {
  const Checkpoint checkpoint = Checkpoint::open(folder);
  Model model = Model::load(checkpoint, {kernels::DenseType::kF32, Execution::kInteger});
  InputRecorder recorder;
  model.set_taps(&recorder);
  all_logits(model, tokens);
  double worst = 0;
  int quantized = 0;
  for (const auto& [module, input] : recorder.inputs) {
    const LinearWeights weights = checkpoint.linear(module);
    if (!std::holds_alternative<QuantizedMatrix>(weights.weight)) continue;
    ++quantized;
    const auto integer = multiply(weights, Execution::kInteger, input.first, input.second);
    const auto simulated = multiply(weights, Execution::kSimulated, input.first, input.second);
    const double relative = relative_difference(integer, simulated);
    const double offset =
        std::abs(static_cast<double>(weights.input.scale) * weights.input.zero_point);
    EXPECT_LE(relative, 2e-6 * (1 + offset / root_mean_square(input.first)))
        << name << ", " << module;
    worst = std::max(worst, relative);
  }
  EXPECT_GT(quantized, 0);
  std::cout << name << ": worst of " << quantized << " products " << worst << "\n";
}

// Through a whole model the difference grows: inputs are rounded before every product, to int8 or
// bfloat16, and where a value lies within 1e-6 of a tie the executions round it to neighbours, a
// step of 1/127 of the largest value (or 1/256 of the value itself). That step moves all that
// follows, so that more values round otherwise: in the end the executions may differ as two draws
// of the noise of rounding activations do. They must not differ by more: in logits 2 % of their
// size where that noise costs a divergence of 0.0025 or less, and as the root of the divergence
// beyond; in divergence a share of that from float32 (two independent draws would differ by twice
// that), or 5e-5 where activations are 16-bit.
void expect_executions_agree(const Logits& integer, const Logits& simulated, std::size_t vocab,
                             double from_float, double share, double spread,
                             const std::string& name) {
  const double relative = relative_difference(integer, simulated);
  const double kld = mean_kld(integer, simulated, vocab);
  const double highest_kld = share * from_float;
  const bool int8 = name.find("a16") == std::string::npos;
  const double noise = int8 ? std::max(1.0, std::sqrt(from_float / 0.0025)) : 1.0;
  EXPECT_LE(relative, 0.02 * spread * noise) << name;
  EXPECT_LE(kld, int8 ? highest_kld : 5e-5 * spread) << name;
  std::cout << name << ": integer from simulated " << relative << ", KLD " << kld << "\n";
}

std::map<std::string, double> check_model(const Trained& trained) {
  set_num_threads(1);  // teams that wait for each other take long where processors are busy
  const auto tokens = trained.tokens();
  const std::vector<std::int32_t> few(tokens.begin(), tokens.begin() + kComparedTokens);
  const Logits reference = logits_of(trained.folder, Execution::kInteger, tokens);
  const std::size_t vocab = reference.size() / tokens.size();
  const Checkpoint original = trained.checkpoint();
  const testing::TempFolder temp;
  std::map<std::string, double> klds;
  for (const std::string& name : recipe_names()) {
    const Recipe recipe = recipe_named(name);
    const Plan plan = calibrated_plan(original, recipe, tokens);
    QuantizeOptions options;
    options.output = temp.path() / name;
    quantize(original, recipe, plan, options);
    expect_reads_back(original, plan, options.output);
    expect_products_agree(options.output, few, name);
    const Logits logits = logits_of(options.output, Execution::kInteger, tokens);
    klds[name] = mean_kld(logits, reference, vocab);
    std::cout << name << ": KLD from float32 " << klds[name] << "\n";
    expect_executions_agree(logits_of(options.output, Execution::kInteger, few),
                            logits_of(options.output, Execution::kSimulated, few), vocab,
                            klds[name], trained.share, trained.spread, name);
  }
  EXPECT_LT(klds["w8a16"], klds["w8a8-dynamic"]);
  EXPECT_LT(klds["w8a8-dynamic"], klds["w4a16-g32"]);
  EXPECT_LT(klds["w4a16-g32"], klds["w4a16"]);
  EXPECT_LT(klds["w4a16-g32-asym"], klds["w4a16-asym"]);
  return klds;
}

TEST(QuantizedModels, GlaDemo) {
  const auto root = testing::source_dir() / "assets";
  auto klds = check_model({root / "models/gla-demo", root / "text/sample.txt"});
  EXPECT_LE(klds["w8a16"], 0.001);
  EXPECT_LE(klds["w8a8-dynamic"], 0.004);
  EXPECT_LE(klds["w8a8-dynamic-all"], 0.01);
}

// The probe says 0.0001 (W8), 0.0010 (W8A8), 0.020 (W4 g32), 0.022 (W4 g128 asymmetric), 0.027 (W4
// g128), on 4096 tokens; these are 768 others.
TEST(QuantizedModels, Gla) {
  AQUATINT_SHARED_PATH(folder, "models/gla");
  AQUATINT_SHARED_PATH(text, "data/books_valid.txt");
  auto klds = check_model({folder, text});
  EXPECT_LE(klds["w8a16"], 0.0004);
  EXPECT_LE(klds["w8a8-dynamic"], 0.004);
  EXPECT_LE(klds["w8a8-dynamic-all"], 0.006);
  EXPECT_LE(klds["w4a16-g32"], 0.03);
  EXPECT_LE(klds["w4a16"], 0.04);
  EXPECT_LE(klds["w4a16-asym"], 0.035);
  EXPECT_LE(klds["w4a8-dynamic"], klds["w4a16"] + 0.005);
}

// Hidden values reach 3000 here and steps are exponentiated twice, so what a rounding to another
// neighbour moves grows more on its way than elsewhere.
// The probe says 0.0002 (W8), 0.0013 (W8A8), 0.036 (W4 g128), 0.029 (W4 g128 asymmetric), 0.027 (W4
// g32).
TEST(QuantizedModels, Mamba) {
  AQUATINT_SHARED_PATH(folder, "models/mamba");
  AQUATINT_SHARED_PATH(text, "data/books_valid.txt");
  auto klds = check_model({folder, text, 1.0});
  EXPECT_LE(klds["w8a16"], 0.0004);
  EXPECT_LE(klds["w8a8-dynamic"], 0.004);
  EXPECT_LE(klds["w4a16-g32"], 0.035);
  EXPECT_LE(klds["w4a16"], 0.05);
  EXPECT_LE(klds["w4a16-asym"], 0.042);
}

// The probe says 0.0001 (W8), 0.0016 (W8A8), 0.031 (W4 g128), 0.025 (W4 g128 asymmetric), 0.023 (W4
// g32).
TEST(QuantizedModels, Mamba2) {
  AQUATINT_SHARED_PATH(folder, "models/mamba2");
  AQUATINT_SHARED_PATH(text, "data/books_valid.txt");
  auto klds = check_model({folder, text});
  EXPECT_LE(klds["w8a16"], 0.0004);
  EXPECT_LE(klds["w8a8-dynamic"], 0.004);
  EXPECT_LE(klds["w4a16-g32"], 0.03);
  EXPECT_LE(klds["w4a16"], 0.045);
  EXPECT_LE(klds["w4a16-asym"], 0.036);
}

// The probe says 0.0003 (W8), 0.0024 (W8A8), 0.068 (W4 g128), 0.053 (W4 g128 asymmetric), 0.045 (W4
// g32).
TEST(QuantizedModels, Llama) {
  AQUATINT_SHARED_PATH(folder, "models/llama");
  AQUATINT_SHARED_PATH(text, "data/books_valid.txt");
  auto klds = check_model({folder, text, 1.0});
  EXPECT_LE(klds["w8a16"], 0.0008);
  EXPECT_LE(klds["w8a8-dynamic"], 0.005);
  EXPECT_LE(klds["w4a16-g32"], 0.065);
  EXPECT_LE(klds["w4a16"], 0.09);
  EXPECT_LE(klds["w4a16-asym"], 0.075);
}

// Its attention is sharp and a few channels of its norms are large, so that activations of 8 bits
// cost far more than weights of 8 bits do.
TEST(QuantizedModels, Gpt2) {
  AQUATINT_SHARED_PATH(folder, "models/gpt2");
  AQUATINT_SHARED_PATH(text, "data/books_valid.txt");
  auto klds = check_model({folder, text, 0.5, 4});
  EXPECT_LE(klds["w8a16"], 0.005);
  EXPECT_LE(klds["w8a8-dynamic"], 0.15);
  EXPECT_LE(klds["w4a16"], 0.3);
}

// Sizes that no group, panel or vector divides: every recipe finds something that fits, writes it,
// and both executions read the same numbers from it.
TEST(QuantizedModels, EveryRecipeFitsOddShapes) {
  set_num_threads(1);
  const std::pair<const char*, const char*> variants[] = {
      {"gpt2", "odd_sizes"}, {"llama", "odd_sizes"}, {"llama", "biases"}, {"minicpm", "plain"}};
  for (const auto& [family, variant] : variants) {
    const Checkpoint original =
        Checkpoint::open(testing::source_dir() / "tests/golden" / family / variant);
    std::vector<std::int32_t> tokens;
    for (std::int32_t i = 0; i < 40; ++i) tokens.push_back(i * 7 % 40);
    const testing::TempFolder temp;
    for (const std::string& name : recipe_names()) {
      SCOPED_TRACE(std::string(family) + "/" + variant + ", " + name);
      const Recipe recipe = recipe_named(name);
      const Plan plan = calibrated_plan(original, recipe, tokens);
      QuantizeOptions options;
      options.output = temp.path() / name;
      quantize(original, recipe, plan, options);
      expect_reads_back(original, plan, options.output);
      const Logits integer = logits_of(options.output, Execution::kInteger, tokens);
      EXPECT_LE(
          relative_difference(integer, logits_of(options.output, Execution::kSimulated, tokens)),
          0.05);
    }
  }
}

}  // namespace
}  // namespace aquatint
