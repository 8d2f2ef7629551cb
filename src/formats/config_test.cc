#include "formats/config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "formats/json_text.h"
#include "formats/test_support.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::TempFolder;

Config parse(std::string_view text) {
  return Config::parse(text, "config.json");
}

void expect_corrupt(std::string_view text, std::string_view message) {
  expect_error(ErrorKind::kCorrupt, message, [&] { parse(text); });
}

TEST(Config, ReadsTypedValues) {
  const Config c = parse(R"({"i": 3, "f": 1.5, "whole": 2.0, "b": true, "s": "x", "n": null})");
  EXPECT_EQ(c.get_int("i"), 3);
  EXPECT_EQ(c.get_int("whole"), 2);
  EXPECT_EQ(c.get_double("i"), 3.0);
  EXPECT_EQ(c.get_double("f"), 1.5);
  EXPECT_TRUE(c.get_bool("b"));
  EXPECT_EQ(c.get_string("s"), "x");
  EXPECT_FALSE(c.has("n"));
  EXPECT_FALSE(c.has("absent"));
  EXPECT_EQ(c.get_int("n", 7), 7);
  EXPECT_EQ(c.get_double("absent", 0.5), 0.5);
  EXPECT_EQ(c.get_string("absent", "y"), "y");
  EXPECT_FALSE(c.get_bool("n", false));
  EXPECT_EQ(c.find_int("absent"), std::nullopt);
  EXPECT_EQ(c.find_double("f"), 1.5);
  EXPECT_EQ(c.keys(), (std::vector<std::string>{"b", "f", "i", "n", "s", "whole"}));
  EXPECT_FALSE(c.bare_nonfinite());
}

TEST(Config, NamesKeyAndValueInErrors) {
  const Config c = parse(R"({"s": "abc", "f": 1.5, "big": 18446744073709551615, "huge": 1e300,
                             "n": null, "list": [1, 2], "sub": {"x": []}})");
  const auto corrupt = [](std::string_view text, const auto& body) {
    expect_error(ErrorKind::kCorrupt, text, body);
  };
  corrupt("'config.json': key 'hidden_size' is missing", [&] { c.get_int("hidden_size"); });
  corrupt("'config.json': key 'n' is missing", [&] { c.get_int("n"); });
  corrupt("key 's' must be an integer, but is the string 'abc'", [&] { c.get_int("s"); });
  corrupt("key 's' must be an integer", [&] { c.get_int("s", 1); });
  corrupt("key 'f' must be an integer, but is 1.5", [&] { c.get_int("f"); });
  corrupt("key 'big' must be an integer, but is 18446744073709551615", [&] { c.get_int("big"); });
  corrupt("key 'huge' must be an integer", [&] { c.get_int("huge"); });
  corrupt("key 'list' must be a number, but is a list of 2", [&] { c.get_double("list"); });
  corrupt("key 'f' must be true or false", [&] { c.get_bool("f"); });
  corrupt("key 'f' must be a string", [&] { c.get_string("f"); });
  corrupt("key 'sub.x' must be an integer", [&] { c.child("sub").get_int("x"); });
  corrupt("key 's' must be an object", [&] { c.child("s"); });
  corrupt("key 'list' must be an object or a list of objects", [&] { c.children("list"); });
  expect_error(ErrorKind::kUnsupported, "'config.json': key 'f' is 1.5: no fractions",
               [&] { c.raise_unsupported("f", "no fractions"); });
}

TEST(Config, ReadsLists) {
  const Config c = parse(R"({"one": 5, "two": [5, 6.0], "s": ["a", "b"], "bad": [1, "x"],
                             "limit": [0.0, Infinity], "o": {"k": 1},
                             "os": [{"k": 1}, {"k": 2}]})");
  EXPECT_EQ(c.get_ints("one"), (std::vector<std::int64_t>{5}));
  EXPECT_EQ(c.get_ints("two"), (std::vector<std::int64_t>{5, 6}));
  EXPECT_TRUE(c.get_ints("none").empty());
  EXPECT_EQ(c.get_strings("s"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(c.get_doubles("limit"), (std::vector<double>{0.0, HUGE_VAL}));
  EXPECT_EQ(c.children("o").size(), 1u);
  EXPECT_EQ(c.children("os").at(1).get_int("k"), 2);
  EXPECT_TRUE(c.children("none").empty());
  expect_error(ErrorKind::kCorrupt, "key 'bad' must be an integer or a list of integers",
               [&] { c.get_ints("bad"); });
  expect_error(ErrorKind::kCorrupt, "key 'os[1].q' is missing",
               [&] { c.children("os").at(1).get_int("q"); });
}

TEST(Config, ReadsNonFiniteNumbersInBothSpellings) {
  const Config c =
      parse(R"({"a": Infinity, "b":-Infinity, "c": [NaN,NaN], "d": {"__float__": "Infinity"},
    "e": {"__float__": "-Infinity"}, "f": {"__float__": "NaN"}, "g": {"__float__": "inf"},
    "text": "NaN, \"Infinity\" and \\", "NaN": "-Infinity"})");
  EXPECT_EQ(c.get_double("a"), HUGE_VAL);
  EXPECT_EQ(c.get_double("b"), -HUGE_VAL);
  EXPECT_TRUE(std::isnan(c.get_doubles("c").at(1)));
  EXPECT_EQ(c.get_double("d"), HUGE_VAL);
  EXPECT_EQ(c.get_double("e"), -HUGE_VAL);
  EXPECT_TRUE(std::isnan(c.get_double("f")));
  EXPECT_EQ(c.get_string("text"), "NaN, \"Infinity\" and \\");
  EXPECT_EQ(c.get_string("NaN"), "-Infinity");
  EXPECT_TRUE(c.bare_nonfinite());
  expect_error(ErrorKind::kCorrupt, "key 'g' must be a number", [&] { c.get_double("g"); });
  expect_error(ErrorKind::kCorrupt, "key 'a' must be an integer", [&] { c.get_int("a"); });
}

TEST(Config, RejectsAlmostNonFiniteNumbers) {
  for (const char* literal : {"nan", "NAN", "-NaN", "+Infinity", "Inf", "xNaN", "NaN1",
                              "1-Infinity", "Infinity.0", "NaN\xc3\xa9", "--Infinity"}) {
    expect_corrupt("{\"a\": " + std::string(literal) + "}", "'config.json': line 1, column ");
  }
  expect_corrupt("{NaN: 1}", "line 1, column 2");
}

TEST(Config, LocatesSyntaxErrors) {
  expect_corrupt("{\n  \"a\": 1,\n  \"b\": ?\n}", "'config.json': line 3, column 8: ");
  // The rewriting of a literal before it must not move the place.
  expect_corrupt("{\"a\": NaN, \"b\": -Infinity, \"c\": ?}", "line 1, column 33: ");
  expect_corrupt("", "line 1, column 1");
  expect_corrupt("{\"a\": 1", "line 1, column 8");
  expect_corrupt("[1, 2]", "expected a JSON object, found a list of 2");
  expect_corrupt("{\"a\": \"\xff\"}", "line 1, column 8");
  expect_corrupt(std::string_view("{}\0{}", 5), "line 1, column 3: a zero byte");
  expect_corrupt("{\"a\": 1e999}", "1e999");
  expect_corrupt("{} {}", "line 1, column 4");
}

TEST(Config, BoundsNesting) {
  const auto nested = [](int depth) {
    return "{\"a\":" + std::string(static_cast<std::size_t>(depth - 1), '[') +
           std::string(static_cast<std::size_t>(depth - 1), ']') + "}";
  };
  parse(nested(64));
  expect_corrupt(nested(65), "nested more than 64 levels deep");
  expect_corrupt(nested(1000000), "nested more than 64 levels deep");
  parse("{\"a\": \"" + std::string(1000, '[') + "\"}");
}

TEST(Config, ReadsFiles) {
  const TempFolder folder;
  const Config c = Config::read(folder.write("c.json", "{\"a\": 1}"));
  EXPECT_EQ(c.get_int("a"), 1);
  EXPECT_NE(c.origin().find("c.json"), std::string::npos);
  expect_error(ErrorKind::kNotFound, "none.json",
               [&] { Config::read(folder.path() / "none.json"); });
}

TEST(Config, CopiesOutliveTheParent) {
  Config inner = parse(R"({"a": {"b": {"c": 5}}})").child("a").child("b");
  EXPECT_EQ(inner.get_int("c"), 5);
}

TEST(JsonText, WritesNonFiniteNumbersAsTheyWereRead) {
  const std::string bare =
      "{\n  \"a\": [\n    0.0,\n    Infinity\n  ],\n  \"b\": {\n    \"c\": NaN\n  },\n"
      "  \"d\": {\n    \"e\": [\n      1\n    ]\n  }\n}\n";
  bool found = false;
  const nlohmann::json json = parse_json(bare, "x", &found);
  EXPECT_TRUE(found);
  EXPECT_EQ(json_text(json, true), bare);
  const std::string wrapped = json_text(json, false);
  EXPECT_NE(wrapped.find("\"__float__\": \"Infinity\""), std::string::npos);
  EXPECT_EQ(parse_json(wrapped, "x", &found), json);
  EXPECT_FALSE(found);
  expect_error(ErrorKind::kInvalidArgument, "cannot write as JSON", [] { json_text("\xff"); });
}

}  // namespace
}  // namespace aquatint
