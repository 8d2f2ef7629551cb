#include "report/sensitivity_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace aquatint {
namespace {

SensitivityResult made_result(std::size_t units) {
  SensitivityResult result;
  result.all.reference.text = "book <1> & \"2\"";
  result.all.reference.token_perplexity = result.all.model.token_perplexity = 10;
  for (std::size_t i = 0; i < units; ++i) {
    UnitSensitivity unit;
    unit.unit.name = fmt::format("role:{}", i);
    unit.unit.selectors = {unit.unit.name};
    unit.unit.bytes_before = 1000;
    unit.alone.mean_kld = i == 0 ? 0.9 : 0.1 / static_cast<double>(units);
    unit.alone.reference.token_perplexity = unit.alone.model.token_perplexity = 10;
    unit.share = unit.alone.mean_kld;
    result.units.push_back(unit);
  }
  result.keep = {0};
  return result;
}

TEST(SensitivityReport, SaysWhatToKeepLast) {
  const std::string text = sensitivity_text(made_result(4));
  EXPECT_NE(text.find("overrides:\n  - match:\n      - 'role:0'\n    keep: true\n"),
            std::string::npos);
  EXPECT_TRUE(text.ends_with("keep: role:0: 90 % of the divergence for 25 % of the bytes saved\n"))
      << text;
  SensitivityResult nothing = made_result(4);
  nothing.keep.clear();
  EXPECT_NE(sensitivity_text(nothing).find("keep: nothing"), std::string::npos);
}

TEST(SensitivityReport, AUnitThatSavesNothingHasNoCostPerByte) {
  SensitivityResult result = made_result(2);
  result.units[1].unit.bytes_before = -5;
  const nlohmann::json json = to_json(result);
  EXPECT_TRUE(json["units"][1]["kld_per_mib_saved"].is_null());
  EXPECT_GT(json["units"][0]["kld_per_mib_saved"].get<double>(), 0);
  EXPECT_EQ(json["keep"], nlohmann::json({"role:0"}));
}

TEST(SensitivityReport, DrawsARowForEachUnitUpToALimit) {
  const BarChart chart = sensitivity_chart(made_result(100), "a title");
  EXPECT_EQ(chart.rows.size(), 40U);
  EXPECT_NE(chart.subtitle.find("40 of 100"), std::string::npos);
  EXPECT_TRUE(chart.rows[0].marked);
  EXPECT_FALSE(chart.rows[1].marked);
}

TEST(BarChart, IsWellFormed) {
  BarChart chart{"<title> & \"more\"", "sub\ntitle", "first", "second", "mark", {}};
  chart.rows = {{"a<b", 0.5, 0.25, 0.1, "note", true}, {"zero", 0, 0, 0, "", false}};
  const std::string svg = bar_chart_svg(chart);
  EXPECT_TRUE(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  EXPECT_NE(svg.find("&lt;title&gt; &amp; &quot;more&quot;"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  const auto count = [&](char c) { return std::count(svg.begin(), svg.end(), c); };
  EXPECT_EQ(count('<'), count('>'));
  // Without rows, or with nothing in them, there is still an axis.
  EXPECT_EQ(bar_chart_svg({"t", "s", "f", "s", "", {}}).find("nan"), std::string::npos);
}

}  // namespace
}  // namespace aquatint
