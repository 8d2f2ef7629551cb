#include "hub/repo_name.h"

#include <gtest/gtest.h>

#include "formats/test_support.h"

namespace aquatint::hub {
namespace {

using testing::expect_error;

TEST(RepoName, NamesAndRevisions) {
  const RepoName plain = parse_repo_name("org/model-1.5_b");
  EXPECT_EQ(plain.name, "org/model-1.5_b");
  EXPECT_EQ(plain.revision, "main");
  EXPECT_EQ(plain.str(), "org/model-1.5_b");
  const RepoName pull = parse_repo_name("org/model@refs/pr/7");
  EXPECT_EQ(pull.revision, "refs/pr/7");
  EXPECT_EQ(pull.str(), "org/model@refs/pr/7");
  EXPECT_EQ(parse_repo_name("gpt2").name, "gpt2");
}

TEST(RepoName, RefusesWhatTheHubRefuses) {
  for (const std::string& text :
       {std::string(""), std::string("a/b/c"), std::string("/b"), std::string("a/"),
        std::string("a/b--c"), std::string("a/b..c"), std::string("-a/b"), std::string("a/b."),
        std::string("a/b.git"), std::string("a/b c"), std::string("ä/b"), std::string("a/b@"),
        std::string("a/b@../x"), std::string("a/b@x\n"), "a/" + std::string(97, 'x')}) {
    expect_error(ErrorKind::kInvalidArgument, "ORG/NAME", [&] { parse_repo_name(text); });
    EXPECT_FALSE(is_repo_name(text)) << text;
  }
  EXPECT_TRUE(is_repo_name("a/b@v1.0"));
  EXPECT_FALSE(is_repo_name("gpt2")) << "without an organization it is a mistyped folder";
  EXPECT_FALSE(is_repo_name("./a/b"));
  EXPECT_FALSE(is_repo_name("../a"));
}

TEST(RepoName, SafePaths) {
  for (const char* path : {"a", "a/b.c/d", "..a", "a..", ".hidden/x", "ä"}) {
    EXPECT_TRUE(is_safe_path(path)) << path;
  }
  for (const char* path :
       {"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\\b", "a\nb"}) {
    EXPECT_FALSE(is_safe_path(path)) << path;
  }
}

}  // namespace
}  // namespace aquatint::hub
