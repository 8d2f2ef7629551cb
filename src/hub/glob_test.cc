#include "hub/glob.h"

#include <gtest/gtest.h>

#include "formats/test_support.h"

namespace aquatint::hub {
namespace {

using testing::expect_error;
using Names = std::vector<std::string>;

// Each as Python's fnmatch.fnmatchcase says.
TEST(Glob, AsPythonsFnmatch) {
  struct Case {
    const char *pattern, *name;
    bool matches;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"*", "", true},
           {"*", "a/b", true},
           {"", "a", false},
           {"*.json", "config.json", true},
           {"*.json", "a/config.json", true},
           {"*.json", "config.jsonl", false},
           {"model*.safetensors", "model-00001-of-00002.safetensors", true},
           {"*a*b*c", "xxaxxbxxbxxc", true},
           {"*a*b*c", "xxaxxcxxb", false},
           {"a?c", "abc", true},
           {"a?c", "ac", false},
           {"a?c", "aäc", true},
           {"[abc]", "b", true},
           {"[a-c]x", "bx", true},
           {"[a-c]", "d", false},
           {"[c-a]", "b", false},
           {"[!a-c]", "d", true},
           {"[!a-c]", "b", false},
           {"[]]", "]", true},
           {"[!]]", "]", false},
           {"[!]]", "a", true},
           {"[a-]", "-", true},
           {"[", "[", true},
           {"[a", "[a", true},
           {"[!", "[!", true},
           {"[]", "[]", true},
           {"[ä-ü]", "ö", true},
           {"onnx/", "onnx/model.onnx", true},
           {"onnx/", "onnx", false},
           {"Config.json", "config.json", false},
           {"***", "abc", true},
           {"a**", "a", true},
       }) {
    EXPECT_EQ(glob_matches(c.pattern, c.name), c.matches) << c.pattern << " on " << c.name;
  }
}

TEST(Glob, HostilePatternsEnd) {
  std::string pattern, name(2000, 'a');
  for (int i = 0; i < 500; ++i) pattern += "*a";
  EXPECT_FALSE(glob_matches(pattern + "b", name));
}

TEST(SelectFiles, WhatAModelNeeds) {
  const Names all = {"README.md",      "config.json",       "tokenizer.json",
                     "model.onnx",     "pytorch_model.bin", "model.safetensors.index.json",
                     "m-1.safetensors"};
  EXPECT_EQ(select_files(all, {}, {}),
            (Names{"config.json", "tokenizer.json", "model.safetensors.index.json"}));
  EXPECT_EQ(select_files(all, {}, {"tok*"}),
            (Names{"config.json", "model.safetensors.index.json"}));
  EXPECT_EQ(select_files(all, {"*.md", "*.bin"}, {"p*"}), (Names{"README.md"}));
  EXPECT_EQ(select_files({"pytorch_model.bin", "config.json"}, {}, {}).size(), 2u);
  EXPECT_EQ(select_files({"model.gguf"}, {}, {}), Names{});
  EXPECT_EQ(index_among({"config.json", "a.index.json"}), "");
  EXPECT_EQ(index_among({"config.json", "pytorch_model.bin.index.json"}),
            "pytorch_model.bin.index.json");
}

TEST(SelectFiles, ShardsOfAnIndex) {
  EXPECT_EQ(shards_of(R"({"weight_map": {"a": "2", "b": "1", "c": "2"}})", "i"), (Names{"1", "2"}));
  for (const char* bad : {"", "{}", "[]", R"({"weight_map": []})", R"({"weight_map": {"a": 1}})",
                          R"({"weight_map": {"a": "../x"}})"}) {
    expect_error(ErrorKind::kCorrupt, "the-index", [&] { shards_of(bad, "the-index"); });
  }
}

}  // namespace
}  // namespace aquatint::hub
