// The sweep against whole models: what a variant predicts does not depend on passing block by
// block.
#include "eval/sensitivity.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "eval/testing.h"
#include "models/model.h"

namespace aquatint {
namespace {

using testing_paths::repository;

const Checkpoint& demo() {
  static const Checkpoint checkpoint = Checkpoint::open(repository() / "assets/models/gla-demo");
  return checkpoint;
}

const Tokenizer& tokenizer() {
  static const Tokenizer instance = Tokenizer::open(demo().folder());
  return instance;
}

TextData sample() {
  return read_text_data(repository() / "assets/text/sample.txt");
}

SensitivityOptions short_text(SensitivityBy by = SensitivityBy::kRole) {
  SensitivityOptions options;
  options.by = by;
  options.text.protocol = Protocol::kGptq;
  options.text.window = 192;
  options.text.max_tokens = 600;
  return options;
}

Plan plan_of(const std::string& yaml) {
  return make_plan(demo(), Recipe::parse(yaml, "test.yaml"));
}

constexpr const char* kAll =
    "weights: {bits: 4, group_size: 64}\nactivations: {bits: 8}\nhead: {weights: {bits: 8}}\n"
    "embedding: {weights: {bits: 8}}\n";

std::vector<std::string> names_of(const std::vector<SensitivityUnit>& units) {
  std::vector<std::string> names;
  for (const SensitivityUnit& unit : units) names.push_back(unit.name);
  return names;
}

TEST(SensitivityUnits, GroupByRoleBlockAndTensor) {
  const Plan plan = plan_of(kAll);
  const auto by_role = make_sensitivity_units(plan, SensitivityBy::kRole);
  EXPECT_EQ(names_of(by_role), (std::vector<std::string>{
                                   "role:embedding", "role:mixer_in", "role:mixer_gate",
                                   "role:mixer_out", "role:mlp_in", "role:mlp_out", "role:head"}));
  EXPECT_EQ(by_role[1].selectors, std::vector<std::string>{"role:mixer_in"});
  EXPECT_EQ(by_role[1].tensors.size(), 12U);
  const auto by_block = make_sensitivity_units(plan, SensitivityBy::kBlock);
  EXPECT_EQ(names_of(by_block), (std::vector<std::string>{"role:embedding", "block 0", "block 1",
                                                          "block 2", "block 3", "role:head"}));
  EXPECT_EQ(by_block[2].selectors, std::vector<std::string>{"name:model.layers.1.*"});
  const auto by_both = make_sensitivity_units(plan, SensitivityBy::kRoleBlock);
  EXPECT_EQ(by_both.size(), 2U + 4 * 5);
  EXPECT_EQ(by_both[1].name, "block 0 role:mixer_in");
  EXPECT_EQ(by_both[1].selectors[2], "name:model.layers.0.attn.v_proj");
  const auto by_tensor = make_sensitivity_units(plan, SensitivityBy::kTensor);
  EXPECT_EQ(by_tensor.size(), 2U + 4 * 8);
  EXPECT_EQ(by_tensor.back().selectors, std::vector<std::string>{"name:lm_head"});
}

TEST(SensitivityUnits, SaveWhatThePlanSaves) {
  // The head of the demonstration model is tied; the second recipe unties it for the table's sake.
  for (const char* yaml : {kAll, "weights: {bits: 8}\nembedding: {weights: {bits: 8}}\n"}) {
    const Plan plan = plan_of(yaml);
    for (const std::string& name : sensitivity_by_names()) {
      std::int64_t saved = 0;
      for (const auto& unit : make_sensitivity_units(plan, *sensitivity_by_from_name(name))) {
        saved += unit.bytes_saved();
      }
      EXPECT_EQ(saved, plan.bytes_before - plan.bytes_after) << name;
    }
  }
  EXPECT_FALSE(sensitivity_by_from_name("layer"));
}

// The divergence of a variant loaded as a whole, by evaluate_divergence.
DivergenceResult divergence_of(const Plan& plan, const std::set<const TensorPlan*>& selected,
                               const PerplexityOptions& text) {
  RoundedTensors rounded(demo(), plan);
  const RoundedSource source(rounded, selected);
  LoadOptions loading;
  loading.compute = kernels::DenseType::kF32;
  Model reference = Model::load(demo(), loading);
  Model model = Model::load(demo().shared_architecture(), source, loading);
  return evaluate_divergence(model, tokenizer(), reference, tokenizer(), sample(), text);
}

void expect_same(const DivergenceResult& swept, const DivergenceResult& whole) {
  EXPECT_NEAR(swept.mean_kld, whole.mean_kld, 2e-3 * whole.mean_kld + 1e-9);
  EXPECT_NEAR(swept.mean_kld_error, whole.mean_kld_error, 5e-3 * whole.mean_kld_error + 1e-9);
  EXPECT_NEAR(swept.model.nll, whole.model.nll, 1e-5 * whole.model.nll);
  EXPECT_NEAR(swept.reference.nll, whole.reference.nll, 1e-6 * whole.reference.nll);
  EXPECT_EQ(swept.model.scored, whole.model.scored);
}

TEST(Sensitivity, EqualsWholeModels) {
  const Plan plan = plan_of(kAll);
  SensitivityOptions options = short_text();
  options.leave_out = true;
  const SensitivityResult result =
      measure_sensitivity(demo(), demo(), plan, tokenizer(), sample(), options);
  ASSERT_EQ(result.units.size(), 7U);
  std::set<const TensorPlan*> all;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.scheme) all.insert(&tensor);
  }
  expect_same(result.all, divergence_of(plan, all, options.text));
  for (const UnitSensitivity& unit : result.units) {
    SCOPED_TRACE(unit.unit.name);
    const std::set<const TensorPlan*> alone(unit.unit.tensors.begin(), unit.unit.tensors.end());
    expect_same(unit.alone, divergence_of(plan, alone, options.text));
    std::set<const TensorPlan*> rest = all;
    for (const TensorPlan* tensor : alone) rest.erase(tensor);
    expect_same(*unit.left_out, divergence_of(plan, rest, options.text));
  }
}

TEST(Sensitivity, RanksByCostAndSharesAddUp) {
  const Plan plan = plan_of(kAll);
  const SensitivityResult result = measure_sensitivity(demo(), demo(), plan, tokenizer(), sample(),
                                                       short_text(SensitivityBy::kBlock));
  double shares = 0;
  for (std::size_t i = 0; i < result.units.size(); ++i) {
    shares += result.units[i].share;
    EXPECT_GT(result.units[i].alone.mean_kld, 0) << result.units[i].unit.name;
    EXPECT_FALSE(result.units[i].left_out);
    if (i == 0) continue;
    EXPECT_GE(result.units[i - 1].divergence_per_mib(), result.units[i].divergence_per_mib());
  }
  EXPECT_NEAR(shares, 1, 1e-12);
  // A head of its own costs bytes, so nothing costs more.
  EXPECT_EQ(result.units.front().unit.name, "role:head");
  EXPECT_LT(result.units.front().unit.bytes_saved(), 0);
}

void expect_identical(const SensitivityResult& a, const SensitivityResult& b) {
  ASSERT_EQ(a.units.size(), b.units.size());
  for (std::size_t i = 0; i < a.units.size(); ++i) {
    EXPECT_EQ(a.units[i].unit.name, b.units[i].unit.name);
    EXPECT_EQ(a.units[i].alone.mean_kld, b.units[i].alone.mean_kld) << a.units[i].unit.name;
  }
  EXPECT_EQ(a.all.mean_kld, b.all.mean_kld);
}

TEST(Sensitivity, DependsNeitherOnThreadsNorOnMemory) {
  const Plan plan = plan_of(kAll);
  SensitivityOptions options = short_text();
  const int threads = num_threads();
  const auto measure = [&] {
    return measure_sensitivity(demo(), demo(), plan, tokenizer(), sample(), options);
  };
  const SensitivityResult result = measure();
  set_num_threads(1);
  expect_identical(result, measure());
  set_num_threads(threads);
  options.sweep.hidden_bytes = 1;  // a window at a time
  expect_identical(result, measure());
}

TEST(Sensitivity, WorksWithContextAndManyDocuments) {
  const Plan plan = plan_of("weights: {bits: 8}\nactivations: {bits: 8}\n");
  const TextData data{"two",
                      {make_document("It was a dark night, and the captain said nothing."),
                       make_document("Once upon a time there was a door behind him.")}};
  for (const Protocol protocol : {Protocol::kLmEval, Protocol::kLlamaCpp}) {
    SensitivityOptions options;
    options.text.protocol = protocol;
    options.text.window = 8;
    const SensitivityResult result =
        measure_sensitivity(demo(), demo(), plan, tokenizer(), data, options);
    EXPECT_GT(result.all.mean_kld, 0);
    EXPECT_LT(result.all.mean_kld, 0.1);
  }
}

UnitSensitivity made_unit(const char* name, double kld, std::int64_t saved, double sum) {
  UnitSensitivity unit;
  unit.unit.name = name;
  unit.unit.bytes_before = saved;
  unit.alone.mean_kld = kld;
  unit.share = kld / sum;
  return unit;
}

TEST(Sensitivity, KeepsWhatCostsMuchForFewBytes) {
  std::vector<UnitSensitivity> units = {made_unit("a", 0.6, 20, 1), made_unit("b", 0.04, 10, 1),
                                        made_unit("c", 0.36, 970, 1)};
  EXPECT_EQ(choose_units_to_keep(units), std::vector<std::size_t>{0});
  units[0].alone.mean_kld_error = 0.5;  // may be noise
  EXPECT_TRUE(choose_units_to_keep(units).empty());
  units = {made_unit("a", 0.9, 400, 1), made_unit("b", 0.1, 600, 1)};  // too many bytes
  EXPECT_TRUE(choose_units_to_keep(units).empty());
  units = {made_unit("all", 1, 100, 1)};
  EXPECT_TRUE(choose_units_to_keep(units).empty());
}

TEST(Sensitivity, RefusesATextThatIsTooShort) {
  const Plan plan = plan_of(kAll);
  SensitivityOptions options = short_text();
  options.text.window = 4096;
  options.text.max_tokens = 100;
  EXPECT_THROW(measure_sensitivity(demo(), demo(), plan, tokenizer(), sample(), options), Error);
}

}  // namespace
}  // namespace aquatint
