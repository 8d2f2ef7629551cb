#include "quantize/plan.h"

#include <gtest/gtest.h>

#include "quantize/test_support.h"
#include "quantize/working_folder.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::recipe_of;
using testing::SmallModel;

Plan plan_of(const Checkpoint& checkpoint, const std::string& yaml) {
  return make_plan(checkpoint, recipe_of(yaml));
}

const TensorPlan& find(const Plan& plan, const std::string& name) {
  for (const TensorPlan& t : plan.tensors) {
    if (t.spec->name == name) return t;
  }
  throw std::runtime_error(name);
}

std::string scheme_of(const Plan& plan, const std::string& module) {
  const TensorPlan& t = find(plan, module + ".weight");
  return t.scheme ? t.scheme->weights.str() : "kept";
}

TEST(Plan, QuantizesProjectionsAndExplainsTheRest) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const Plan plan = plan_of(checkpoint, "weights: {bits: 8}");
  for (const TensorPlan& t : plan.tensors) {
    const bool projection = is_linear(t.spec->role) && t.spec->role != Role::kLowRankGate &&
                            t.spec->role != Role::kHead;
    EXPECT_EQ(t.scheme.has_value(), projection) << t.spec->name;
    if (!projection && (is_linear(t.spec->role) || t.spec->role == Role::kEmbedding)) {
      EXPECT_FALSE(t.note.empty()) << t.spec->name;
    }
    EXPECT_EQ(t.dtype, DType::kBF16);
  }
  EXPECT_FALSE(plan.unties_head);
  EXPECT_THROW(find(plan, "lm_head.weight"), std::runtime_error);
  EXPECT_NE(find(plan, "model.embeddings.weight").note.find("'embedding'"), std::string::npos);
}

TEST(Plan, GroupsThatDoNotFitGetANote) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const Plan plan = plan_of(checkpoint, "weights: {bits: 4, group_size: 128}");
  EXPECT_EQ(scheme_of(plan, "model.layers.0.attn.q_proj"), "W4 group 64 symmetric");
  EXPECT_EQ(find(plan, "model.layers.0.attn.q_proj.weight").note,
            "64 columns are not a multiple of 128: groups of 64");
  EXPECT_EQ(scheme_of(plan, "model.layers.1.mlp.down_proj"), "W4 row symmetric");
  EXPECT_EQ(find(plan, "model.layers.1.mlp.down_proj.weight").note,
            "100 columns are not a multiple of 128: one scale per row");
  const Plan fits = plan_of(checkpoint, "weights: {bits: 4, group_size: 32}");
  EXPECT_EQ(find(fits, "model.layers.0.attn.q_proj.weight").note, "");
  // The two factors of the low-rank gate have 64 and 16 columns.
  const Plan gates =
      plan_of(checkpoint, "weights: {group_size: 64}\noverrides: [{match: role:low_rank_gate}]");
  EXPECT_EQ(scheme_of(gates, "model.layers.0.attn.gk_proj.0"), "W8 group 64 symmetric");
  EXPECT_EQ(scheme_of(gates, "model.layers.0.attn.gk_proj.1"), "W8 group 16 symmetric");
}

TEST(Plan, IgnoreBeatsOverridesAndTheLastOverrideWins) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const Plan plan = plan_of(checkpoint, R"(
weights: {bits: 4, group_size: 32}
ignore: ["name:*.1.attn.v_proj"]
overrides:
  - match: role:mixer_in
    weights: {bits: 8}
  - match: ["name:model.layers.0.attn.*_proj", "re:.*\\.o_proj"]
    weights: {bits: 3, granularity: row, symmetric: false}
  - match: "name:*.k_proj"
    keep: true
)");
  EXPECT_EQ(scheme_of(plan, "model.layers.0.attn.q_proj"), "W3 row asymmetric");
  EXPECT_EQ(scheme_of(plan, "model.layers.1.attn.q_proj"), "W8 row symmetric");
  EXPECT_EQ(scheme_of(plan, "model.layers.1.attn.o_proj"), "W3 row asymmetric");
  EXPECT_EQ(scheme_of(plan, "model.layers.0.attn.k_proj"), "kept");
  EXPECT_EQ(find(plan, "model.layers.0.attn.k_proj.weight").note, "kept by the recipe");
  EXPECT_EQ(scheme_of(plan, "model.layers.1.attn.v_proj"), "kept");
  EXPECT_EQ(find(plan, "model.layers.1.attn.v_proj.weight").note, "ignored by the recipe");
  EXPECT_EQ(scheme_of(plan, "model.layers.1.mlp.up_proj"), "W4 group 32 symmetric");
}

TEST(Plan, NamesThatMatchNothingAreErrors) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  for (const char* rule : {"ignore: ['name:*.qq_proj']", "ignore: ['re:q_proj']",
                           "overrides: [{match: 'name:model.layers.2.*', keep: true}]"}) {
    expect_error(ErrorKind::kInvalidArgument, "matches no projection of this model",
                 [&] { plan_of(checkpoint, std::string("weights: {}\n") + rule); });
  }
  // A role need not occur in every model.
  plan_of(checkpoint, "weights: {}\nignore: [role:conv]");
}

TEST(Plan, RolesThatAreNotMultipliedAreKeptWithANote) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const Plan plan = plan_of(checkpoint, "weights: {}\noverrides: [{match: role:norm}]");
  EXPECT_FALSE(find(plan, "model.norm.weight").scheme);
  EXPECT_EQ(find(plan, "model.norm.weight").note, "a norm is not multiplied as a matrix: kept");
}

TEST(Plan, QuantizedHeadOrTableUntiesThem) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const Plan head = plan_of(checkpoint, "weights: {}\nhead: {weights: {bits: 8}}");
  EXPECT_TRUE(head.unties_head);
  EXPECT_EQ(scheme_of(head, "lm_head"), "W8 row symmetric");
  EXPECT_EQ(scheme_of(head, "model.embeddings"), "kept");
  EXPECT_NE(find(head, "lm_head.weight").note.find("was tied"), std::string::npos);
  const Plan table = plan_of(checkpoint, "weights: {}\nembedding: {weights: {bits: 8}}");
  EXPECT_TRUE(table.unties_head);
  EXPECT_EQ(scheme_of(table, "lm_head"), "kept");
  EXPECT_NE(find(table, "lm_head.weight").note.find("untied"), std::string::npos);
  EXPECT_EQ(find(table, "lm_head.weight").bytes_after, 50 * 64 * 2);

  const SmallModel untied(false);
  const Checkpoint with_head = Checkpoint::open(untied.folder());
  const Plan kept = plan_of(with_head, "weights: {}");
  EXPECT_FALSE(kept.unties_head);
  EXPECT_EQ(scheme_of(kept, "lm_head"), "kept");
}

TEST(Plan, AnEmbeddingTakesOnlyInt8Rows) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  expect_error(ErrorKind::kInvalidArgument, "'model.embeddings' is an embedding and cannot be W4",
               [&] { plan_of(checkpoint, "weights: {bits: 4}\noverrides: [{match: 'name:*'}]"); });
  const Plan plan = plan_of(checkpoint,
                            "weights: {}\nactivations: {bits: 8}\n"
                            "overrides: [{match: role:embedding}]");
  const TensorPlan& table = find(plan, "model.embeddings.weight");
  EXPECT_EQ(table.scheme->activations, ActivationScheme::kFloat);
  EXPECT_EQ(table.scheme->layout, WeightLayout::kInts);
}

TEST(Plan, BytesAreThoseOfTheFiles) {
  for (const bool tied : {true, false}) {
    const SmallModel model(tied);
    int run = 0;
    for (const char* yaml :
         {"weights: {bits: 8}", "weights: {bits: 8}\nactivations: {bits: 8}",
          "weights: {bits: 4, group_size: 16, symmetric: false}",
          "weights: {bits: 3, granularity: tensor, symmetric: false}",
          "weights: {bits: 2}\nhead: {weights: {bits: 8}}\nembedding: {weights: {bits: 8}}"}) {
      const Checkpoint checkpoint = Checkpoint::open(model.folder());
      const Plan plan = plan_of(checkpoint, yaml);
      EXPECT_EQ(plan.bytes_before, checkpoint.tensors().total_bytes());
      const auto output = model.path("out" + std::to_string(run++));
      testing::quantize_to(model.folder(), yaml, output);
      const Checkpoint written = Checkpoint::open(output);
      EXPECT_EQ(plan.bytes_after, written.tensors().total_bytes()) << yaml;
      EXPECT_GE(plan.disk_bytes, plan.bytes_after);
      for (const TensorPlan& t : plan.tensors) {
        EXPECT_EQ(t.bytes_after, written.stored_bytes(*t.spec)) << t.spec->name;
      }
    }
  }
}

TEST(Plan, OfAQuantizedModelIsRefused) {
  const SmallModel model;
  testing::quantize_to(model.folder(), "weights: {}", model.path("out"));
  expect_error(ErrorKind::kUnsupported, "already quantized",
               [&] { plan_of(Checkpoint::open(model.path("out")), "weights: {}"); });
}

TEST(Preflight, RefusesWhatDoesNotFit) {
  Plan plan;
  plan.memory_bytes = std::int64_t{3} << 30;
  plan.disk_bytes = std::int64_t{2} << 30;
  preflight(plan, "out", {plan.memory_bytes, plan.disk_bytes});
  preflight(plan, "out", {-1, -1});
  expect_error(ErrorKind::kOutOfMemory, "needs 3.0 GiB of memory; 1.0 GiB are available", [&] {
    preflight(plan, "out", {std::int64_t{1} << 30, plan.disk_bytes});
  });
  expect_error(ErrorKind::kOutOfMemory, "'out': the output needs 2.0 GiB of disk; 7 B are free",
               [&] {
                 preflight(plan, "out", {plan.memory_bytes, 7});
               });
}

TEST(Preflight, WhatAnUnfinishedRunReservedCountsAsFree) {
  const testing::TempFolder temp;
  const auto output = temp.path() / "out";
  const Resources before = available_resources(output);
  EXPECT_GT(before.memory, 0);
  EXPECT_GT(before.disk, 0);
  std::filesystem::create_directories(temp.path() / "out.partial");
  temp.write("out.partial/model.safetensors.partial", std::string(3 << 20, 'x'));
  EXPECT_GE(WorkingFolder(output).reserved_bytes(), 3 << 20);
}

}  // namespace
}  // namespace aquatint
