#include "quantize/histogram_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>

#include "base/printable.h"

namespace aquatint {
namespace {

constexpr std::size_t kRanked = 20;

constexpr std::string_view kHead = R"(<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Histograms of activations</title>
<style>
body { font: 15px/1.45 sans-serif; color: #222; background: #fff; margin: 2em auto;
       max-width: 1240px; padding: 0 1em }
.ranks { display: flex; flex-wrap: wrap; gap: 0 4em }
td, th { padding: 0 1em 0 0; text-align: left; font-weight: normal }
th { color: #666 }
td:first-child, td:last-child { text-align: right; font-variant-numeric: tabular-nums }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 560px), 1fr));
         gap: 1.5em }
figure { margin: 0 } img { width: 100%; height: auto; border: 1px solid #ddd }
figcaption { color: #555; font-size: 13px }
a { color: #1f5fa8; text-decoration: none } a:hover { text-decoration: underline }
</style>
<h1>Histograms of activations</h1>
)";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : printable(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// Positions from the largest value to the smallest; equal ones keep their order.
std::vector<std::size_t> ranked(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  return order;
}

template <typename Format>
std::string rank_table(const char* title, const char* unit,
                       const std::vector<TapHistogram>& histograms,
                       const std::vector<double>& values, const Format& format) {
  std::string out =
      fmt::format("<div><h2>{}</h2>\n<table>\n<tr><th></th><th>tap</th><th>{}</th>\n", title, unit);
  const std::vector<std::size_t> order = ranked(values);
  for (std::size_t rank = 0; rank < std::min(kRanked, order.size()); ++rank) {
    const std::size_t i = order[rank];
    out += fmt::format("<tr><td>{}</td><td><a href=\"#tap{}\">{}</a></td><td>{}</td>\n", rank + 1,
                       i, escaped(histograms[i].name), format(values[i]));
  }
  return out + "</table></div>\n";
}

}  // namespace

std::string percent(double share) {
  return share > 0.0 ? fmt::format("{:.2g} %", 100.0 * share) : "0 %";
}

std::string kurtosis_text(double kurtosis) {
  return fmt::format("{:.{}f}", kurtosis, kurtosis < 100.0 ? 1 : 0);
}

std::string histogram_page(const std::vector<TapHistogram>& histograms,
                           const std::vector<std::string>& pictures) {
  std::vector<double> kurtosis, clipped;
  for (const TapHistogram& histogram : histograms) {
    kurtosis.push_back(histogram.kurtosis());
    clipped.push_back(histogram.clipped());
  }
  std::string page(kHead);
  page += fmt::format("<p>{} {}. ", histograms.size(), histograms.size() == 1 ? "tap" : "taps");
  page +=
      "Kurtosis is 3 for a normal distribution and larger with outliers; clipped values lie "
      "outside the range that integers would span.</p>\n<div class=\"ranks\">\n";
  page += rank_table("Most outliers", "kurtosis", histograms, kurtosis, kurtosis_text);
  page += rank_table("Most clipped", "of the values", histograms, clipped, percent);
  page += "</div>\n<h2>All, by kurtosis</h2>\n<div class=\"plots\">\n";
  for (const std::size_t i : ranked(kurtosis)) {
    const TapHistogram& histogram = histograms[i];
    const std::string name = escaped(histogram.name);
    page += fmt::format(
        "<figure id=\"tap{}\"><a href=\"{}\"><img src=\"{}\" alt=\"{}\" loading=\"lazy\"></a>\n"
        "<figcaption>{}: kurtosis {}, values {:.4g} to {:.4g}, range {:.4g} to {:.4g}, "
        "{} clipped</figcaption></figure>\n",
        i, pictures[i], pictures[i], name, name, kurtosis_text(kurtosis[i]), histogram.seen.min,
        histogram.seen.max, histogram.chosen.min, histogram.chosen.max, percent(clipped[i]));
  }
  return page + "</div>\n</html>\n";
}

}  // namespace aquatint
