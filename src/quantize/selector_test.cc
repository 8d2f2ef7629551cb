#include <gtest/gtest.h>

#include <chrono>

#include "quantize/recipe.h"
#include "quantize/test_support.h"

namespace aquatint {
namespace {

using testing::expect_error;

bool matches(const std::string& selector, const std::string& module, Role role = Role::kMixerIn) {
  return Selector::parse(selector).matches(module, role);
}

TEST(Selector, Roles) {
  for (const std::string& name : role_names()) {
    for (const std::string& other : role_names()) {
      EXPECT_EQ(matches("role:" + name, "any.module", *role_from_name(other)), name == other);
    }
  }
  EXPECT_FALSE(Selector::parse("role:head").must_match());
  EXPECT_TRUE(Selector::parse("name:*").must_match());
  expect_error(ErrorKind::kInvalidArgument, "no role 'mlp_ot'; did you mean 'mlp_out'?",
               [] { Selector::parse("role:mlp_ot"); });
}

TEST(Selector, Globs) {
  EXPECT_TRUE(matches("name:model.layers.0.*", "model.layers.0.attn.q_proj"));
  EXPECT_FALSE(matches("name:model.layers.0.*", "model.layers.10.attn.q_proj"));
  EXPECT_TRUE(matches("name:*.q_proj", "model.layers.0.attn.q_proj"));
  EXPECT_FALSE(matches("name:*.q_proj", "model.layers.0.attn.q_proj.0"));
  EXPECT_TRUE(matches("name:*layers.?.mlp*down*", "model.layers.3.mlp.down_proj"));
  EXPECT_TRUE(matches("name:lm_head", "lm_head"));
  EXPECT_FALSE(matches("name:lm_hea", "lm_head"));
  EXPECT_FALSE(matches("name:lm_head?", "lm_head"));
  EXPECT_TRUE(matches("name:**", ""));
  EXPECT_FALSE(matches("name:[a-z]*", "lm_head"));  // brackets mean themselves
}

TEST(Selector, ExpressionsMatchTheWholeName) {
  EXPECT_TRUE(matches("re:.*[qk]_proj", "model.layers.0.attn.q_proj"));
  EXPECT_FALSE(matches("re:[qk]_proj", "model.layers.0.attn.q_proj"));
  EXPECT_FALSE(matches("re:model", "model.layers.0.attn.q_proj"));
  EXPECT_TRUE(matches("re:a|b.*", "bc"));
  EXPECT_FALSE(matches("re:a|b", "ac"));
  EXPECT_FALSE(matches("re:a", "a\n"));
}

TEST(Selector, BadForms) {
  for (const char* text : {"", "head", "role:", "name:", "re:", ":x", "Role:head", "glob:*"}) {
    expect_error(ErrorKind::kInvalidArgument, "expected role:ROLE, name:GLOB or re:EXPRESSION",
                 [&] { Selector::parse(text); });
  }
  for (const char* text : {"re:(", "re:[", "re:*", "re:a)(b", "re:(?x) #"}) {
    expect_error(ErrorKind::kInvalidArgument, "selector '", [&] { Selector::parse(text); });
  }
}

TEST(Selector, HostilePatternsEndSoon) {
  const auto start = std::chrono::steady_clock::now();
  const std::string name(60, 'a');
  std::string stars;
  for (int i = 0; i < 40; ++i) stars += "*a";
  EXPECT_FALSE(matches("name:" + stars + "b", name));
  try {
    EXPECT_FALSE(matches("re:(a+)+(a+)+(a+)+b", name));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << error.what();
  }
  try {
    Selector::parse("re:((a{1,999}){1,999}){1,999}");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument) << error.what();
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 5.0);
}

TEST(NearestWord, FindsSlipsOnly) {
  const std::vector<std::string> words = {"weights", "activations", "rounding", "head"};
  EXPECT_EQ(nearest_word("wieghts", words), "weights");
  EXPECT_EQ(nearest_word("weight", words), "weights");
  EXPECT_EQ(nearest_word("activation", words), "activations");
  EXPECT_EQ(nearest_word("haed", words), "head");
  EXPECT_EQ(nearest_word("something", words), "");
  EXPECT_EQ(nearest_word("x", {}), "");
  EXPECT_EQ(nearest_word("weights", words), "weights");
}

}  // namespace
}  // namespace aquatint
