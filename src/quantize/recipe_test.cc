#include "quantize/recipe.h"

#include <gtest/gtest.h>

#include "quantize/builtin_recipes.h"
#include "quantize/test_support.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::recipe_of;

void expect_bad(const std::string& yaml, std::string_view message) {
  SCOPED_TRACE(yaml.substr(0, 200));
  expect_error(ErrorKind::kInvalidArgument, message, [&] { recipe_of(yaml); });
}

TEST(Recipe, ReadsEveryKey) {
  const Recipe recipe = recipe_of(R"(
version: 1
name: mine
description: all of it
weights: {bits: 4, granularity: group, group_size: 64, symmetric: false}
activations: {bits: 8, granularity: token, dynamic: true}
rounding: nearest
ignore: [role:low_rank_gate, "name:model.layers.0.*"]
head:
  weights: {bits: 8}
  activations: {bits: 16}
  rounding: nearest
embedding:
  weights: {bits: 8, granularity: row}
  rounding: nearest
overrides:
  - match: role:mlp_out
    weights: {bits: 8, granularity: tensor}
  - match: ["re:.*q_proj"]
    keep: true
)");
  EXPECT_EQ(recipe.name, "mine");
  EXPECT_EQ(recipe.description, "all of it");
  EXPECT_EQ(recipe.projections.scheme->weights.str(), "W4 group 64 asymmetric");
  EXPECT_EQ(recipe.projections.scheme->activations, ActivationScheme::kInt8Dynamic);
  ASSERT_EQ(recipe.ignore.size(), 2u);
  EXPECT_EQ(recipe.ignore[1].text(), "name:model.layers.0.*");
  EXPECT_EQ(recipe.head->scheme->weights.str(), "W8 row symmetric");
  EXPECT_EQ(recipe.head->scheme->activations, ActivationScheme::kFloat);
  EXPECT_EQ(recipe.embedding->scheme->weights.str(), "W8 row symmetric");
  ASSERT_EQ(recipe.overrides.size(), 2u);
  // An override starts from the projections and changes what it names.
  EXPECT_EQ(recipe.overrides[0].treatment.scheme->weights.str(), "W8 tensor symmetric");
  EXPECT_EQ(recipe.overrides[0].treatment.scheme->activations, ActivationScheme::kInt8Dynamic);
  EXPECT_FALSE(recipe.overrides[1].treatment.scheme.has_value());
}

TEST(Recipe, Defaults) {
  const Recipe recipe = Recipe::parse("weights: {}", "folder/some-name.yaml");
  EXPECT_EQ(recipe.name, "some-name");
  EXPECT_EQ(recipe.projections.scheme->weights.str(), "W8 row symmetric");
  EXPECT_EQ(recipe.projections.scheme->activations, ActivationScheme::kFloat);
  EXPECT_EQ(recipe.projections.rounding, "nearest");
  EXPECT_FALSE(recipe.head || recipe.embedding);
  EXPECT_EQ(recipe_of("weights: {granularity: group}").projections.scheme->weights.group_size, 128);
  EXPECT_EQ(recipe_of("weights: {group_size: 32}").projections.scheme->weights.granularity,
            Granularity::kGroup);
  for (const int bits : {2, 3, 4, 8}) {
    EXPECT_EQ(
        recipe_of(fmt::format("weights: {{bits: {}}}", bits)).projections.scheme->weights.bits,
        bits);
  }
}

TEST(Recipe, UnknownKeysSuggestTheNearest) {
  expect_bad("wieghts: {bits: 8}", "line 1: unknown key 'wieghts'; did you mean 'weights'?");
  expect_bad("weights:\n  bits: 8\n  groupsize: 32\n",
             "line 3: weights: unknown key 'groupsize'; did you mean 'group_size'?");
  expect_bad("weights: {bits: 8}\nactivations: {bit: 8}", "line 2: activations: unknown key 'bit'");
  expect_bad("weights: {}\nhead: {weigths: {}}", "head: unknown key 'weigths'");
  expect_bad("weights: {}\nembedding: {activations: {bits: 8}}", "embedding: unknown key");
  expect_bad("weights: {}\noverrides:\n- math: role:head\n",
             "line 3: overrides: unknown key 'math'");
  expect_bad("weights: {}\n[a, b]: c", "unknown key ''");
  expect_bad("weights: {}\nzzzzzzzzzzzz: 1", "unknown key 'zzzzzzzzzzzz'");
}

TEST(Recipe, ValuesOutOfRangeAndWrongTypes) {
  expect_bad("weights: {bits: 5}", "bits is 5, expected 2, 3, 4 or 8");
  expect_bad("weights: {bits: four}", "'bits' has a value of the wrong type");
  expect_bad("weights: {bits: 4.5}", "'bits' has a value of the wrong type");
  expect_bad("weights: {bits: 99999999999999}", "'bits' has a value of the wrong type");
  expect_bad("weights: {bits: [4]}", "'bits' has a value of the wrong type");
  expect_bad("weights: {symmetric: maybe}", "'symmetric' has a value of the wrong type");
  expect_bad("weights: {granularity: rwo}",
             "'granularity' is 'rwo', expected tensor, row or group; "
             "did you mean 'row'?");
  for (const char* size : {"0", "-8", "12", "4", "65544", "9223372036854775800"}) {
    expect_bad(fmt::format("weights: {{group_size: {}}}", size), "expected a multiple of 8");
  }
  expect_bad("weights: {granularity: row, group_size: 32}", "group_size needs granularity: group");
  expect_bad("weights: 8", "line 1: weights: expected a mapping");
  expect_bad("weights: {}\nactivations: {bits: 4}", "bits is 4, expected 8 or 16");
  expect_bad("weights: {}\nactivations: {dynamic: false}", "need bits: 8");
  expect_bad("weights: {}\nactivations: {bits: 8, symmetric: false}", "are symmetric");
  expect_bad("weights: {}\nactivations: {bits: 8, observer: min_max}", "dynamic: false");
  const std::string fixed = "weights: {}\nactivations: {bits: 8, dynamic: false, ";
  expect_bad(fixed + "granularity: token}", "expected tensor");
  expect_bad(fixed + "observer: min_mx}", "did you mean 'min_max'");
  expect_bad(fixed + "observer: moments}", "'observer' is 'moments'");
  expect_bad(fixed + "observer: {name: min_max, bins: 5}}", "has no 'bins'");
  expect_bad(fixed + "observer: {name: percentile, percentile: 1.5}}", "must be above 0");
  expect_bad("weights: {}\nactivations: {bits: 8, granularity: tensor}", "expected token");
  expect_bad("weights: {}\nrounding: neerest", "did you mean 'nearest'?");
  expect_bad("weights: {}\nversion: 2", "version 2; this program reads version 1");
  expect_bad("weights: {}\nhead: {rounding: nearest}", "'head' needs 'weights'");
  expect_bad("weights: {}\nembedding: {weights: {bits: 4}}", "an embedding is quantized with");
  expect_bad("activations: {bits: 8}", "activations without weights");
}

TEST(Recipe, RulesThatSayNothing) {
  expect_bad("", "line 1: expected a mapping");
  expect_bad("# only a comment", "line 1: expected a mapping");
  expect_bad("name: x", "quantizes nothing");
  expect_bad("- a\n- b", "expected a mapping");
  expect_bad("just text", "expected a mapping");
  expect_bad("weights: {}\n---\nweights: {}\n", "line 2: a second YAML document");
  expect_bad("weights: {}\noverrides: {match: role:head}", "'overrides' is a list");
  expect_bad("weights: {}\noverrides: [{keep: true}]", "an override needs 'match'");
  expect_bad("weights: {}\noverrides: [{match: role:head, keep: true, weights: {}}]",
             "leaves nothing to quantize");
  expect_bad("weights: {}\nignore: {role: head}", "'ignore' holds something else than text");
  expect_bad("weights: {}\nignore: [[role:head]]", "'ignore' holds something else than text");
  expect_bad("weights: {}\nignore: [roles:head]", "expected role:ROLE, name:GLOB or re:EXPRESSION");
}

TEST(Recipe, YamlErrorsNameTheLine) {
  expect_bad("weights: {bits: 8\nname: x\n: [", "'test.yaml': line ");
  expect_bad("weights: {}\nweights: {}", "line 2: key 'weights' twice");
  expect_bad("weights:\n  bits: 4\n  bits: 8\n", "line 3: weights: key 'bits' twice");
  expect_bad("weights: *nobody", "line 1");
  expect_bad("\tweights: {}", "line 1");
  expect_bad(std::string("weights\0: {}", 12), "line ");
}

TEST(Recipe, HostileYamlEndsSoon) {
  expect_bad(std::string(70000, ' '), "70000 bytes are too many for a recipe");
  expect_bad(std::string(60000, '['), "line ");
  expect_bad(std::string(30000, '{') + std::string(30000, '}'), "line ");
  // Each level ten times the one before: 10^9 if it were written out.
  std::string bomb = "a0: &a0 x\n";
  for (int level = 1; level < 10; ++level) {
    bomb += fmt::format("a{}: &a{} [", level, level);
    for (int i = 0; i < 10; ++i) bomb += fmt::format("{}*a{}", i == 0 ? "" : ", ", level - 1);
    bomb += "]\n";
  }
  expect_bad(bomb + "weights: *a9\n", "unknown key 'a0'");
  expect_bad("weights: &a [*a]", "expected a mapping");
  std::string nested = "weights: ";
  for (int i = 0; i < 9000; ++i) nested += "- ";
  expect_bad(nested, "line ");
  std::string ignored = "weights: {}\nignore: [";
  for (int i = 0; i < 4000; ++i) ignored += "role:head, ";
  EXPECT_EQ(recipe_of(ignored + "role:head]").ignore.size(), 4001u);
}

// yaml-cpp takes the comma for a document without moving on, for ever.
TEST(Recipe, TextThatIsNoDocumentEndsSoon) {
  expect_bad(",", "line 1: a second YAML document");
  expect_bad(", \n, ", "line 1: a second YAML document");
  expect_bad("...\n,", "line ");
  expect_bad("weights: {}\n...\n, ", "line 3: a second YAML document");
  expect_bad("]", "line ");
  expect_bad("weights: {}\n---\n", "line 2: a second YAML document");
}

// A list of selectors costs its length once, an alias of it a few bytes each time.
TEST(Recipe, AliasesDoNotMultiplySelectors) {
  std::string roles = "weights: {}\nignore: &all [";
  for (int i = 0; i < 100; ++i) roles += "role:head, ";
  roles += "]\noverrides:\n";
  for (int i = 0; i < 100; ++i) roles += "- {match: *all, keep: true}\n";
  expect_bad(roles, "more than 4096 selectors");
  std::string expressions = "weights: {}\nignore: [";
  for (int i = 0; i < 513; ++i) expressions += "'re:a', ";
  expect_bad(expressions + "]\n", "or 512 expressions, in one recipe");
}

TEST(Recipe, MessagesStayOneShortLine) {
  const std::string longest(60000, 'x');
  const std::vector<std::string> hostile = {longest + ": 1",
                                            "weights: {" + longest + ": 1}",
                                            "weights: {granularity: " + longest + "}",
                                            "weights: {}\nrounding: " + longest,
                                            "weights: {}\nignore: 'role:" + longest + "'",
                                            "weights: {}\nignore: 're:(" + longest + "'",
                                            "weights: {}\nignore: '" + longest + "'",
                                            "weights: {}\nignore: \"role:a\\nb\\e[31m\"",
                                            std::string("\"a\\nb\": 1"),
                                            "*" + longest,
                                            "%" + longest + "\n---\na",
                                            "!<" + longest + "> a"};
  for (const std::string& yaml : hostile) {
    try {
      recipe_of(yaml);
      ADD_FAILURE() << yaml.substr(0, 50);
    } catch (const Error& error) {
      const std::string_view what = error.what();
      EXPECT_LT(what.size(), 1000u) << yaml.substr(0, 50);
      EXPECT_EQ(what.find_first_of("\n\x1b"), what.npos) << what;
    }
  }
}

TEST(Recipe, AnchorsMayBeUsed) {
  const Recipe recipe = recipe_of("weights: &w {bits: 4, group_size: 32}\nhead: {weights: *w}");
  EXPECT_EQ(recipe.head->scheme->weights, recipe.projections.scheme->weights);
}

TEST(Recipe, BuiltinsParseUnderTheirNames) {
  std::vector<std::string> names;
  for (const BuiltinRecipe& builtin : builtin_recipes()) {
    const Recipe recipe = Recipe::load(builtin.name);
    EXPECT_EQ(recipe.name, builtin.name);
    EXPECT_FALSE(recipe.description.empty()) << builtin.name;
    names.push_back(builtin.name);
  }
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const char* wanted : {"w8a16", "w8a8-dynamic", "w4a16", "w4a16-asym", "w4a16-g32",
                             "w4a16-g32-asym", "w4a8-dynamic", "w8a8-dynamic-all"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), wanted), names.end()) << wanted;
  }
}

TEST(Recipe, LoadsFilesAndSuggestsNames) {
  const testing::TempFolder temp;
  const auto path = temp.write("mine.yaml", "weights: {bits: 3}\n");
  EXPECT_EQ(Recipe::load(path.string()).name, "mine");
  expect_error(ErrorKind::kNotFound, "did you mean 'w4a16'?", [] { Recipe::load("w4a61"); });
  expect_error(ErrorKind::kNotFound, "the built-in recipes are",
               [] { Recipe::load("no/such/file.yaml"); });
  expect_error(ErrorKind::kNotFound, "no such file", [&] { Recipe::load(temp.path().string()); });
  const auto huge = temp.write("huge.yaml", std::string(200000, '#'));
  expect_error(ErrorKind::kUnsupported, "200000 bytes", [&] { Recipe::load(huge.string()); });
}

}  // namespace
}  // namespace aquatint
