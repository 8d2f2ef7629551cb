#include "models/test_models.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "base/threads.h"
#include "formats/compressed_tensors.h"
#include "kernels/sample/sample.h"
#include "models/synth.h"

namespace aquatint::testing {
namespace {

// Tests run side by side, and teams of threads that spin while they wait for each other on too few
// processors take a hundred times longer than one thread does. The test of threads asks for its
// own.
class OneThread : public ::testing::Environment {
 public:
  void SetUp() override { set_num_threads(1); }
};

// Collects the hidden values of a reference as rows, under its names.
class HiddenTaps : public TapSink {
 public:
  HiddenTaps(const Architecture& architecture, HiddenValues hidden_values) {
    std::vector<std::string> taps;
    for (std::int64_t n = 0; n <= architecture.blocks(); ++n) {
      taps.push_back(fmt::format("hidden.{}", n));
    }
    for (const TensorSpec& spec : architecture.tensors()) {
      if (spec.block < 0 || hidden_values == HiddenValues::kBefore) continue;
      const auto digits = spec.name.find(fmt::format(".{}.", spec.block));
      taps[static_cast<std::size_t>(spec.block)] =
          fmt::format("{}.{}.output", spec.name.substr(0, digits), spec.block);
    }
    for (std::size_t n = 0; n < taps.size(); ++n) names_[taps[n]] = fmt::format("hidden.{}", n);
  }
  bool wants(const std::string& name) override { return names_.count(name) > 0; }
  void record(const std::string& name, const float* values, std::int64_t rows,
              std::int64_t columns) override {
    auto& all = values_[names_[name]];
    all.insert(all.end(), values, values + rows * columns);
  }
  const std::map<std::string, std::vector<float>>& values() const { return values_; }

 private:
  std::map<std::string, std::string> names_;  // of a tap in the reference
  std::map<std::string, std::vector<float>> values_;
};

float largest(std::span<const float> values) {
  float result = 0;
  for (const float value : values) result = std::max(result, std::abs(value));
  return result;
}

[[maybe_unused]] const auto* const g_one_thread =
    ::testing::AddGlobalTestEnvironment(new OneThread);

}  // namespace

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

std::vector<float> all_logits(Model& model, std::span<const std::int32_t> tokens) {
  SequenceState state = model.new_state();
  return all_logits(model, tokens, state);
}

namespace {

std::vector<TokenChoice> some_choices(std::size_t n, std::mt19937& random) {
  std::vector<TokenChoice> choices(n);
  for (std::size_t i = 0; i < n; ++i) {
    choices[i].how.temperature = i % 3 == 0 ? 0.0f : 1.5f;
    choices[i].how.top_k = i % 2 == 0 ? 20 : 0;
    choices[i].how.top_p = 0.9f;
    choices[i].how.repetition_penalty = i % 4 == 0 ? 1.0f : 1.5f;
    choices[i].how.random = static_cast<std::uint64_t>(random()) << 32 | random();
    for (std::size_t t = 0; t < 3 * i; ++t) choices[i].seen.push_back(static_cast<int>(7 * t));
  }
  return choices;
}

}  // namespace

void expect_tokens_of_logits(Model& model) {
  constexpr std::size_t kLengths[] = {1, 40, 3, 130, 2};
  const std::int64_t vocab = model.vocab_size(), allowed = vocab - 3;
  std::mt19937 random(1);
  std::vector<Tokens> texts;
  std::vector<SequenceState> states, copies;
  for (const std::size_t n : kLengths) {
    texts.push_back(
        random_tokens(static_cast<std::int64_t>(n), vocab, static_cast<std::uint32_t>(n)));
    states.push_back(model.new_state());
    copies.push_back(model.new_state());
  }
  for (int step = 0; step < 5; ++step) {
    const auto choices = some_choices(texts.size(), random);
    std::vector<ModelInput> inputs, same;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      inputs.push_back({texts[i], &states[i]});
      same.push_back({texts[i], &copies[i]});
    }
    Tokens expected(texts.size());
    model.run(inputs, LogitsFor::kLastToken,
              [&](std::size_t i, std::int64_t, std::int64_t n, const float* logits) {
                EXPECT_EQ(n, 1);
                std::vector<float> row(logits, logits + vocab);
                kernels::SampleRow how = choices[i].how;
                how.seen = static_cast<std::int64_t>(choices[i].seen.size());
                kernels::sample(Stream::cpu(), row.data(), 1, vocab, allowed, &how,
                                choices[i].seen.data(), &expected[i]);
              });
    EXPECT_EQ(model.next_tokens(same, choices, allowed), expected) << "step " << step;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(copies[i].length(), states[i].length());
      texts[i] = {expected[i]};
    }
  }
}

float max_difference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  float worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const float difference = std::abs(a[i] - b[i]);
    if (std::isnan(difference)) return INFINITY;
    worst = std::max(worst, difference);
  }
  return worst;
}

std::span<const float> values_of(const Tensor& tensor) {
  return {tensor.data<float>(), static_cast<std::size_t>(tensor.numel())};
}

void expect_matches_reference(const std::filesystem::path& folder, const LoadOptions& options,
                              const ReferenceBounds& bounds) {
  const auto reference = SafetensorsSet::open_file(folder / "reference.safetensors");
  Model model = Model::load(Checkpoint::open(folder), options);
  for (const std::string name : {"case0", "case1"}) {
    const Tensor ids = reference.tensor(name + ".input_ids").clone();
    HiddenTaps taps(model.architecture(), bounds.hidden);
    model.set_taps(&taps);
    const std::span tokens(ids.data<std::int32_t>(), static_cast<std::size_t>(ids.numel()));
    const auto logits = all_logits(model, tokens);
    model.set_taps(nullptr);
    const Tensor expected = reference.tensor(name + ".logits").clone();
    EXPECT_LT(max_difference(logits, values_of(expected)), bounds.tolerance);
    EXPECT_EQ(static_cast<std::int64_t>(taps.values().size()), model.architecture().blocks() + 1);
    for (const auto& [tap, values] : taps.values()) {
      const Tensor hidden = reference.tensor(name + "." + tap).clone();
      const float tolerance = bounds.tolerance + bounds.rounding * largest(values_of(hidden));
      EXPECT_LT(max_difference(values, values_of(hidden)), tolerance) << tap;
    }
  }
}

Tokens random_tokens(std::int64_t n, std::int64_t vocab, std::uint32_t seed) {
  std::mt19937 random(seed);
  Tokens tokens(static_cast<std::size_t>(n));
  for (auto& token : tokens) {
    token = static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(vocab));
  }
  return tokens;
}

std::filesystem::path golden_variant(const std::string& name, const std::string& family) {
  return source_dir() / "tests/golden" / family / name;
}

std::vector<std::string> golden_variants(const std::string& family) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden_variant("", family))) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<float> expect_matches_golden(const std::filesystem::path& folder) {
  const auto expected = SafetensorsSet::open_file(folder / "expected.safetensors");
  const Tensor ids = expected.tensor("input_ids").clone();
  const std::span tokens(ids.data<std::int32_t>(), static_cast<std::size_t>(ids.numel()));
  Model model = Model::load(Checkpoint::open(folder), {});
  const auto logits = all_logits(model, tokens);
  const Tensor right = expected.tensor("logits").clone();
  EXPECT_LT(max_difference(logits, values_of(right)), kLogitTolerance);

  // The same text token by token, so that the decoding kernels of the variant are checked too.
  SequenceState state = model.new_state();
  std::vector<float> stepped;
  for (const std::int32_t token : tokens) {
    const auto last = model.run(std::span(&token, 1), state);
    stepped.insert(stepped.end(), last.begin(), last.end());
  }
  EXPECT_LT(max_difference(stepped, values_of(right)), kLogitTolerance);
  return logits;
}

std::string tiny_config(const std::string& changes) {
  auto config = nlohmann::json::parse(R"({"model_type": "gla", "hidden_size": 32,
      "num_hidden_layers": 2, "num_heads": 2, "vocab_size": 40, "intermediate_size": 48})");
  config.merge_patch(nlohmann::json::parse(changes));
  return config.dump();
}

std::filesystem::path make_checkpoint(const TempFolder& folder, const std::string& name,
                                      const std::string& changes) {
  SynthOptions options;
  options.output = folder.path() / name;
  options.dtype = DType::kF32;
  synthesize(Config::parse(tiny_config(changes), "config.json"), options);
  return options.output;
}

namespace {

// Nearest rounding, symmetric, with one scale for `group` columns of a row (0: the whole row).
QuantizedMatrix round_symmetric(const Tensor& weight, int bits, std::int64_t group) {
  const Tensor w = weight.to_f32();
  QuantizedMatrix m;
  m.scheme = {bits, true, group > 0 ? Granularity::kGroup : Granularity::kRow, group};
  m.values = Tensor::empty(w.shape(), DType::kI8);
  const std::int64_t rows = w.dim(0), columns = w.dim(1), groups = m.scheme.groups(columns);
  const std::int64_t width = group > 0 ? group : columns;
  m.scales = Tensor::empty({rows, groups}, DType::kF32);
  for (std::int64_t i = 0; i < rows * groups; ++i) {
    const std::int64_t begin = i / groups * columns + i % groups * width;
    const std::int64_t end = std::min(begin + width, (i / groups + 1) * columns);
    const float* values = w.data<float>();
    float largest = 1e-9f;
    for (std::int64_t k = begin; k < end; ++k) largest = std::max(largest, std::abs(values[k]));
    const float scale = largest / static_cast<float>(m.scheme.qmax());
    m.scales.mutable_data<float>()[i] = scale;
    for (std::int64_t k = begin; k < end; ++k) {
      m.values.mutable_data<std::int8_t>()[k] =
          static_cast<std::int8_t>(std::lrint(values[k] / scale));
    }
  }
  return m;
}

}  // namespace

std::filesystem::path make_quantized(const TempFolder& folder, const std::string& name,
                                     const std::filesystem::path& source, int bits,
                                     std::int64_t group, ActivationScheme activations) {
  const Checkpoint checkpoint = Checkpoint::open(source);
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::vector<std::tuple<std::string, ModuleClass, ModuleScheme>> modules;
  std::vector<std::string> ignored;
  for (const TensorSpec& spec : checkpoint.architecture().tensors()) {
    if (spec.role == Role::kHead && checkpoint.head_is_tied()) continue;
    const Tensor weight = checkpoint.tensor(spec.name).to_f32();
    if (is_linear(spec.role) && (group == 0 || weight.dim(1) % group == 0)) {
      const QuantizedMatrix matrix = round_symmetric(weight, bits, group);
      const ModuleScheme scheme{matrix.scheme, activations, WeightLayout::kInferred};
      modules.emplace_back(spec.module(), ModuleClass::kLinear, scheme);
      for (auto& part :
           to_compressed_tensors(spec.module(), scheme, matrix, DType::kF32, spec.transposed)) {
        tensors.push_back(std::move(part));
      }
      continue;
    }
    if (is_linear(spec.role)) ignored.push_back(spec.module());
    tensors.emplace_back(spec.name, spec.transposed ? weight.transposed() : weight);
  }
  auto config = checkpoint.config().json();
  config["quantization_config"] = make_quantization_config(modules, ignored);
  const auto output = folder.path() / name;
  std::filesystem::create_directories(output);
  write_safetensors(output / "model.safetensors", tensors);
  std::ofstream(output / "config.json") << config.dump();
  return output;
}

}  // namespace aquatint::testing
