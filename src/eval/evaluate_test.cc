// Whole evaluations against losses computed in NumPy (tests/golden/make_perplexity_cases.py).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "eval/eval_report.h"
#include "eval/tasks.h"
#include "eval/testing.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;
using testing_paths::lacks_shared;
using testing_paths::repository;
using testing_paths::shared;

struct Loaded {
  explicit Loaded(const fs::path& folder)
      : model(Model::load(Checkpoint::open(folder), {})), tokenizer(Tokenizer::open(folder)) {}
  Model model;
  Tokenizer tokenizer;
};

Loaded& demo() {
  static Loaded loaded(repository() / "assets/models/gla-demo");
  return loaded;
}

const nlohmann::json& golden() {
  static const nlohmann::json json =
      nlohmann::json::parse(read_text_file(repository() / "tests/golden/perplexity_cases.json"));
  return json;
}

TextData golden_text() {
  return {"golden", {make_document(golden()["text"].get<std::string>())}};
}

PerplexityOptions options_of(const nlohmann::json& row) {
  PerplexityOptions options;
  options.protocol = protocol_from_name(row["protocol"].get<std::string>()).value();
  options.bos = bos_policy_from_name(row["bos"].get<std::string>()).value();
  options.window = row["window"].get<std::int64_t>();
  options.max_tokens = row["max_tokens"].get<std::int64_t>();
  return options;
}

void expect_matches(const PerplexityResult& result, const nlohmann::json& row) {
  EXPECT_EQ(result.tokens, row["tokens"].get<std::int64_t>());
  EXPECT_EQ(result.scored, row["scored"].get<std::int64_t>());
  EXPECT_EQ(result.windows, row["windows"].get<std::int64_t>());
  const auto nll = row["nll"].get<double>();
  EXPECT_NEAR(result.nll, nll, 2e-6 * nll) << row.dump();
  const double perplexity = std::exp(nll / static_cast<double>(result.scored));
  EXPECT_NEAR(result.token_perplexity, perplexity, 1e-4 * perplexity);
  const double error =
      perplexity * row["sd"].get<double>() / std::sqrt(static_cast<double>(result.scored));
  EXPECT_NEAR(result.token_perplexity_error, error, 1e-4 * error);
}

// A copy of the demonstration model whose last norm, and so its logits, are edited by `edit`.
class EditedModel : public ::testing::Test {
 protected:
  template <typename Edit>
  Loaded load_edited(const Edit& edit) {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / (std::string("aquatint_eval_") + info->name());
    fs::remove_all(folder_);
    fs::copy(repository() / "assets/models/gla-demo", folder_);
    std::string bytes = read_text_file(folder_ / "model.safetensors");
    std::uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    const auto json = nlohmann::json::parse(bytes.substr(sizeof header, header));
    const auto& entry = json.at("model.norm.weight");
    EXPECT_EQ(entry["dtype"], "BF16");
    const auto end = entry["data_offsets"][1].get<std::size_t>() + sizeof header + header;
    for (std::size_t at = entry["data_offsets"][0].get<std::size_t>() + sizeof header + header;
         at < end; at += 2) {
      std::uint16_t value = 0;
      std::memcpy(&value, &bytes[at], sizeof value);
      value = edit(value);
      std::memcpy(&bytes[at], &value, sizeof value);
    }
    fs::permissions(folder_ / "model.safetensors", fs::perms::owner_write, fs::perm_options::add);
    std::ofstream(folder_ / "model.safetensors", std::ios::binary) << bytes;
    return Loaded(folder_);
  }
  static std::uint16_t halved(std::uint16_t bf16) {
    return static_cast<std::uint16_t>(bf16 - 0x80);  // one less in the exponent
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST(Perplexity, AgreesWithNumpyInEveryProtocol) {
  for (const auto& row : golden()["cases"]) {
    SCOPED_TRACE(row.dump());
    const PerplexityResult result =
        evaluate_perplexity(demo().model, demo().tokenizer, golden_text(), options_of(row));
    expect_matches(result, row);
    EXPECT_EQ(result.word_perplexity.has_value(),
              result.scored == result.tokens && row["max_tokens"].get<std::int64_t>() == 0);
    if (!result.word_perplexity) continue;
    const auto nll = row["nll"].get<double>();
    EXPECT_NEAR(*result.word_perplexity, std::exp(nll / static_cast<double>(result.words)),
                1e-4 * *result.word_perplexity);
    EXPECT_NEAR(*result.bits_per_byte, nll / static_cast<double>(result.bytes) / std::log(2.0),
                1e-4);
    EXPECT_NEAR(std::log2(*result.byte_perplexity), *result.bits_per_byte, 1e-12);
  }
}

TEST(Perplexity, BatchSizeChangesNothingButRounding) {
  PerplexityOptions options = options_of(golden()["cases"][0]);
  options.batch = 1;
  const PerplexityResult single =
      evaluate_perplexity(demo().model, demo().tokenizer, golden_text(), options);
  for (const std::int64_t batch : {2, 3, 64, 600}) {
    options.batch = batch;
    const PerplexityResult result =
        evaluate_perplexity(demo().model, demo().tokenizer, golden_text(), options);
    EXPECT_NEAR(result.nll, single.nll, 1e-6 * single.nll) << batch;
    EXPECT_EQ(result.scored, single.scored);
  }
}

TEST(Perplexity, DocumentsAreIndependentAndCountedTogether) {
  const std::string text = golden()["text"].get<std::string>();
  const TextData one = {"one", {make_document(text.substr(0, 1000))}};
  const TextData two = {"two", {make_document(text.substr(1000, 500))}};
  TextData both = {"both", {one.documents[0], two.documents[0], make_document("")}};
  PerplexityOptions options;
  options.bos = BosPolicy::kNone;
  const auto evaluate = [&](const TextData& data) {
    return evaluate_perplexity(demo().model, demo().tokenizer, data, options);
  };
  const PerplexityResult a = evaluate(one), b = evaluate(two), sum = evaluate(both);
  EXPECT_EQ(sum.documents, 3);
  EXPECT_EQ(sum.words, a.words + b.words + 1);
  EXPECT_NEAR(sum.nll, a.nll + b.nll, 1e-6 * sum.nll);
  options.max_documents = 1;
  EXPECT_EQ(evaluate(both).scored, a.scored);
}

TEST(Perplexity, WikitextTasksAgreeWithNumpy) {
  if (lacks_shared()) GTEST_SKIP() << "needs ../shared";
  for (const auto& row : golden()["shared"]) {
    SCOPED_TRACE(row.dump());
    Loaded loaded(shared() / "models" / row["model"].get<std::string>());
    PerplexityOptions options = options_of(row);
    options.window = 0;  // must come out as in the row
    if (row["task"] == "wikitext") options.max_documents = 8;
    const EvalSubject subject{loaded.model, loaded.tokenizer};
    const EvalResult result = run_eval_task(find_eval_task(row["task"].get<std::string>()), subject,
                                            shared() / "data", options);
    EXPECT_EQ(result.perplexity->window, row["window"].get<std::int64_t>());
    expect_matches(*result.perplexity, row);
  }
}

TEST_F(EditedModel, DivergenceOfHalvedLogitsAgreesWithNumpy) {
  Loaded model = load_edited(halved);
  const auto& row = golden()["divergence"];
  for (const std::int64_t batch : {0, 1, 7}) {
    PerplexityOptions options = options_of(row);
    options.batch = batch;
    const DivergenceResult result = evaluate_divergence(model.model, model.tokenizer, demo().model,
                                                        demo().tokenizer, golden_text(), options);
    expect_matches(result.reference, row);
    EXPECT_NEAR(result.mean_kld, row["mean"].get<double>(), 1e-5);
    EXPECT_NEAR(result.median_kld, row["median"].get<double>(), 1e-5);
    EXPECT_NEAR(result.p99_kld, row["p99"].get<double>(), 1e-4);
    EXPECT_NEAR(result.max_kld, row["max"].get<double>(), 1e-4);
    EXPECT_NEAR(result.top1_agreement, row["same_top"].get<double>(), 1e-3);
    EXPECT_NEAR(result.mean_probability_change, row["mean_change"].get<double>(), 1e-5);
    EXPECT_NEAR(result.rms_probability_change, row["rms_change"].get<double>(), 1e-5);
    EXPECT_GT(result.model.token_perplexity, result.reference.token_perplexity);
  }
}

TEST(Divergence, OfAModelFromItselfIsZero) {
  Loaded same(repository() / "assets/models/gla-demo");
  PerplexityOptions options = options_of(golden()["cases"][4]);
  const DivergenceResult result = evaluate_divergence(same.model, same.tokenizer, demo().model,
                                                      demo().tokenizer, golden_text(), options);
  EXPECT_EQ(result.max_kld, 0.0);
  EXPECT_EQ(result.top1_agreement, 1.0);
  EXPECT_EQ(result.rms_probability_change, 0.0);
  expect_matches(result.model, golden()["cases"][4]);
}

template <typename Call>
std::string failure(ErrorKind kind, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST_F(EditedModel, InfiniteLogitsAreANumericError) {
  // Weights so large, though finite, that products overflow.
  Loaded model = load_edited([](std::uint16_t) { return std::uint16_t{0x7F7F}; });
  failure(ErrorKind::kNumeric,
          [&] { evaluate_perplexity(model.model, model.tokenizer, golden_text(), {}); });
  failure(ErrorKind::kNumeric, [&] {
    evaluate_divergence(model.model, model.tokenizer, demo().model, demo().tokenizer, golden_text(),
                        {});
  });
}

TEST(EvalErrors, SayWhatIsWrong) {
  PerplexityOptions gptq;
  gptq.protocol = Protocol::kGptq;
  const TextData brief = {"short.txt", {make_document("Only a few words.")}};
  expect_contains(
      failure(ErrorKind::kInvalidArgument,
              [&] { evaluate_perplexity(demo().model, demo().tokenizer, brief, gptq); }),
      "too few for protocol gptq with a window of 1024");
  expect_contains(failure(ErrorKind::kInvalidArgument, [] { find_eval_task("wikitex"); }),
                  "'wikitex'; there are 'wikitext', 'wikitext2-gptq', 'wikitext2-llama.cpp'");
  const EvalSubject subject{demo().model, demo().tokenizer};
  expect_contains(failure(ErrorKind::kNotFound,
                          [&] { run_eval_task(eval_tasks()[0], subject, "/nowhere", {}); }),
                  "/nowhere/wikitext.jsonl");
  if (lacks_shared()) GTEST_SKIP() << "the rest needs ../shared";
  Loaded other(shared() / "models/gla");
  expect_contains(failure(ErrorKind::kInvalidArgument,
                          [&] {
                            evaluate_divergence(demo().model, demo().tokenizer, other.model,
                                                other.tokenizer, brief, {});
                          }),
                  "vocabulary of 2048, its reference one of 4096");
  expect_contains(failure(ErrorKind::kInvalidArgument,
                          [&] {
                            evaluate_divergence(demo().model, other.tokenizer, demo().model,
                                                demo().tokenizer, golden_text(), {});
                          }),
                  "tokenize 'golden' differently: token ");
}

TEST(EvalReport, CarriesWhatTheNumbersDependOn) {
  PerplexityOptions options = options_of(golden()["cases"][4]);
  const EvalResult result =
      evaluate_text({demo().model, demo().tokenizer, nullptr, nullptr}, golden_text(), options);
  const nlohmann::json json = to_json(result);
  EXPECT_EQ(json["task"], "golden");
  EXPECT_EQ(json["perplexity"]["protocol"], "llama.cpp");
  EXPECT_EQ(json["perplexity"]["window"], 128);
  EXPECT_EQ(json["perplexity"]["bos"], "tokenizer");
  EXPECT_EQ(json["perplexity"]["tokens"], golden()["cases"][4]["tokens"]);
  EXPECT_TRUE(json["perplexity"]["word_perplexity"].is_null());
  EXPECT_FALSE(json.contains("divergence"));

  Loaded same(repository() / "assets/models/gla-demo");
  const EvalResult both =
      evaluate_text({demo().model, demo().tokenizer, &same.model, nullptr}, golden_text(), options);
  EXPECT_EQ(to_json(both)["divergence"]["kld_max"], 0.0);
  const std::vector<EvalResult> results = {result, both};
  const std::vector<std::string> lines = eval_lines(results);
  ASSERT_EQ(lines.size(), 10u);  // a perplexity, an empty line, a perplexity and a divergence
  expect_contains(lines[0], "protocol llama.cpp, window 128, BOS tokenizer, 567 of 1176 tokens");
  expect_contains(lines[1], "token perplexity");
  expect_contains(lines[8], "100.00 ± 0.00 %");
}

}  // namespace
}  // namespace aquatint
