#include "quantize/pipeline.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/threads.h"
#include "quantize/rounding.h"
#include "quantize/test_support.h"
#include "quantize/working_folder.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::quantize_to;
using testing::read_bytes;
using testing::SmallModel;

constexpr const char* kMixed =
    "weights: {bits: 4, group_size: 32, symmetric: false}\n"
    "head: {weights: {bits: 8}}\n"
    "overrides:\n"
    "- {match: role:mlp_out, weights: {bits: 8}, activations: {bits: 8}}\n"
    "- {match: 'name:*.0.attn.q_proj', keep: true}\n";

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = read_bytes(entry.path());
  }
  return files;
}

void expect_same_tensors(const TensorFiles& a, const TensorFiles& b) {
  ASSERT_EQ(a.entries().size(), b.entries().size());
  for (const auto& [name, entry] : a.entries()) {
    const Tensor x = a.tensor(name), y = b.tensor(name);
    ASSERT_TRUE(x.shape() == y.shape() && x.dtype() == y.dtype()) << name;
    EXPECT_EQ(std::memcmp(x.bytes(), y.bytes(), x.nbytes()), 0) << name;
  }
}

TEST(Pipeline, WritesAModelFolder) {
  const SmallModel model;
  model.temp().write("model/tokenizer.json", "{\"a\": 1}");
  fs::permissions(model.folder() / "tokenizer.json", fs::perms::owner_read);
  const QuantizeResult result = quantize_to(model.folder(), kMixed, model.path("out"));
  EXPECT_EQ(result.shards, 1);
  EXPECT_EQ(result.resumed_units, 0);
  const auto files = contents(model.path("out"));
  std::vector<std::string> names;
  for (const auto& [name, bytes] : files) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"config.json", "model.safetensors", "recipe.yaml",
                                             "tokenizer.json"}));
  EXPECT_EQ(files.at("recipe.yaml"), kMixed);
  EXPECT_EQ(files.at("tokenizer.json"), "{\"a\": 1}");
  const auto config = nlohmann::json::parse(files.at("config.json"));
  const auto& quantization = config["quantization_config"];
  EXPECT_EQ(quantization["quant_method"], "compressed-tensors");
  EXPECT_EQ(quantization["format"], "mixed-precision");
  EXPECT_EQ(config["aquatint"]["recipe"], "test");
  EXPECT_EQ(config["tie_word_embeddings"], false);
  EXPECT_EQ(config["hidden_size"], 64);
  const std::vector<std::string> ignored = quantization["ignore"];
  EXPECT_NE(std::find(ignored.begin(), ignored.end(), "model.layers.0.attn.q_proj"), ignored.end());
  EXPECT_EQ(fs::exists(model.path("out.partial")), false);
}

// What a checkpoint says after loading is what the plan said.
TEST(Pipeline, SchemesAndIntegersReadBack) {
  const SmallModel model;
  const Checkpoint original = Checkpoint::open(model.folder());
  const Recipe recipe = testing::recipe_of(kMixed);
  const Plan plan = make_plan(original, recipe);
  quantize_to(model.folder(), kMixed, model.path("out"));
  const Checkpoint written = Checkpoint::open(model.path("out"));
  for (const TensorPlan& t : plan.tensors) {
    if (!t.scheme) {
      const Tensor before = t.spec->role == Role::kHead
                                ? std::get<Tensor>(original.linear("lm_head").weight)
                                : original.tensor(t.spec->name);
      const Tensor after = written.tensor(t.spec->name);
      EXPECT_EQ(std::memcmp(before.bytes(), after.bytes(), before.nbytes()), 0) << t.spec->name;
      continue;
    }
    const auto scheme = written.scheme(*t.spec);
    ASSERT_TRUE(scheme.has_value()) << t.spec->name;
    EXPECT_EQ(scheme->weights, t.scheme->weights) << t.spec->name;
    EXPECT_EQ(scheme->activations, t.scheme->activations) << t.spec->name;
    const auto source = std::get<Tensor>(original.linear(t.spec->module()).weight);
    const auto expected = find_rounding(t.rounding).round(source, t.scheme->weights, t.dtype);
    const auto found = std::get<QuantizedMatrix>(written.linear(t.spec->module()).weight);
    EXPECT_EQ(std::memcmp(expected.values.bytes(), found.values.bytes(), found.values.nbytes()), 0)
        << t.spec->name;
    EXPECT_EQ(std::memcmp(expected.scales.bytes(), found.scales.bytes(), found.scales.nbytes()), 0);
    EXPECT_EQ(expected.zero_points.defined(), found.zero_points.defined());
  }
}

TEST(Pipeline, ShardsHoldTheSameTensors) {
  const SmallModel model;
  quantize_to(model.folder(), kMixed, model.path("one"));
  const auto result = quantize_to(model.folder(), kMixed, model.path("many"), false, 8000);
  EXPECT_GT(result.shards, 3);
  EXPECT_TRUE(fs::exists(model.path("many") / "model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(model.path("many") / "model.safetensors"));
  const Checkpoint one = Checkpoint::open(model.path("one"));
  const Checkpoint many = Checkpoint::open(model.path("many"));
  expect_same_tensors(one.tensors(), many.tensors());
}

TEST(Pipeline, ThreadsAndRunsGiveTheSameBytes) {
  const SmallModel model;
  set_num_threads(1);
  quantize_to(model.folder(), kMixed, model.path("a"));
  set_num_threads(5);
  quantize_to(model.folder(), kMixed, model.path("b"));
  set_num_threads(0);
  EXPECT_EQ(contents(model.path("a")), contents(model.path("b")));
}

TEST(Pipeline, AGpuGivesTheSameFiles) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const SmallModel model(true, dtype);
    int made = 0;
    for (const char* yaml : {kMixed, "weights: {bits: 8, granularity: tensor}", "weights: {}"}) {
      const auto cpu = model.path(fmt::format("cpu{}", made));
      const auto gpu = model.path(fmt::format("gpu{}", made++));
      quantize_to(model.folder(), yaml, cpu, false, 20000);
      quantize_to(model.folder(), yaml, gpu, false, 20000, {DeviceKind::kCuda, 0});
      EXPECT_EQ(contents(cpu), contents(gpu)) << yaml;
    }
  }
}

TEST(Pipeline, ContinuesFromAnyPrefixOfTheJournal) {
  const SmallModel model(true, DType::kBF16, 3);
  quantize_to(model.folder(), kMixed, model.path("whole"), false, 20000);
  const auto whole = contents(model.path("whole"));
  const auto fingerprint =
      nlohmann::json::parse(whole.at("config.json"))["aquatint"]["fingerprint"];
  std::string journal = nlohmann::json{{"run", fingerprint}}.dump() + "\n";
  int done = 0;
  for (const char* unit : {"input", "block 0", "block 1", "block 2", "output"}) {
    journal += nlohmann::json{{"unit", unit}}.dump() + "\n";
    ++done;
    // As before finish(): the shards have their temporary names. (Of what is not done nothing is
    // believed, so it does no harm that its bytes are there too; the next test tells.)
    const auto out = model.path("out");
    fs::remove_all(out);
    fs::create_directories(model.path("out.partial"));
    for (const auto& [name, bytes] : whole) {
      if (name.find(".safetensors") == std::string::npos ||
          name.find("index") != std::string::npos) {
        continue;
      }
      std::ofstream(model.path("out.partial") / (name + ".partial"), std::ios::binary) << bytes;
    }
    std::ofstream(model.path("out.partial") / "journal.jsonl") << journal << "{\"unit\":\"blo";
    const auto result = quantize_to(model.folder(), kMixed, out, false, 20000);
    EXPECT_EQ(result.resumed_units, done);
    EXPECT_EQ(contents(out), whole);
  }
}

TEST(Pipeline, WhatIsNotInTheJournalIsWrittenAgain) {
  const SmallModel model;
  quantize_to(model.folder(), kMixed, model.path("whole"));
  const auto whole = contents(model.path("whole"));
  const auto fingerprint =
      nlohmann::json::parse(whole.at("config.json"))["aquatint"]["fingerprint"];
  fs::create_directories(model.path("out.partial"));
  std::ofstream(model.path("out.partial") / "journal.jsonl")
      << nlohmann::json{{"run", fingerprint}} << "\n";
  std::ofstream(model.path("out.partial") / "model.safetensors.partial", std::ios::binary)
      << std::string(whole.at("model.safetensors").size() + 999, '\x55');
  quantize_to(model.folder(), kMixed, model.path("out"));
  EXPECT_EQ(contents(model.path("out")), whole);
}

TEST(Pipeline, AnotherRecipeDoesNotContinue) {
  const SmallModel model;
  fs::create_directories(model.path("out.partial"));
  std::ofstream(model.path("out.partial") / "journal.jsonl") << "{\"run\":\"other\"}\n";
  expect_error(ErrorKind::kInvalidArgument, "unfinished run of another model",
               [&] { quantize_to(model.folder(), kMixed, model.path("out")); });
}

TEST(Pipeline, KilledBeforeTidyingUp) {
  const SmallModel model;
  quantize_to(model.folder(), kMixed, model.path("out"));
  const auto whole = contents(model.path("out"));
  const auto fingerprint =
      nlohmann::json::parse(whole.at("config.json"))["aquatint"]["fingerprint"];
  std::ofstream(model.path("out") / "journal.jsonl")
      << nlohmann::json{{"run", fingerprint}} << "\n";
  quantize_to(model.folder(), kMixed, model.path("out"));
  EXPECT_EQ(contents(model.path("out")), whole);
}

TEST(Pipeline, OverwritesOnlyWhenTold) {
  const SmallModel model;
  quantize_to(model.folder(), "weights: {}", model.path("out"));
  const auto first = contents(model.path("out"));
  expect_error(ErrorKind::kInvalidArgument, "exists",
               [&] { quantize_to(model.folder(), kMixed, model.path("out")); });
  EXPECT_EQ(contents(model.path("out")), first);
  quantize_to(model.folder(), kMixed, model.path("out"), true);
  EXPECT_EQ(contents(model.path("out")).at("recipe.yaml"), kMixed);
  EXPECT_EQ(model.temp().files(), (std::vector<std::string>{"model", "out"}));
  expect_error(ErrorKind::kInvalidArgument, "is or holds the model to be read",
               [&] { quantize_to(model.folder(), kMixed, model.folder(), true); });
}

TEST(Pipeline, NotANumberLeavesNothing) {
  const SmallModel model(true, DType::kF32);
  const auto path = model.folder() / "model.safetensors";
  std::string bytes = read_bytes(path);
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const auto& entry = checkpoint.tensors().entries().at("model.layers.1.mlp.up_proj.weight");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + entry.offset + 400, &nan, sizeof nan);
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
  expect_error(ErrorKind::kNumeric, "'model.layers.1.mlp.up_proj.weight' holds NaN",
               [&] { quantize_to(model.folder(), kMixed, model.path("out")); });
  EXPECT_EQ(model.temp().files(), (std::vector<std::string>{"model"}));
}

TEST(Pipeline, OutputBelowAFile) {
  const SmallModel model;
  model.temp().write("file", "x");
  expect_error(ErrorKind::kIo, "Not a directory",
               [&] { quantize_to(model.folder(), kMixed, model.path("file/out")); });
}

}  // namespace
}  // namespace aquatint
