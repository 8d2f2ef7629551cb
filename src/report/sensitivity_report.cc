#include "report/sensitivity_report.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "report/table.h"

namespace aquatint {
namespace {

using nlohmann::json;

constexpr std::size_t kMostBars = 40;
constexpr std::size_t kMostNames = 4;

json divergence_json(const DivergenceResult& result) {
  return {{"kld_mean", result.mean_kld},
          {"kld_mean_stderr", result.mean_kld_error},
          {"kld_median", result.median_kld},
          {"kld_p99", result.p99_kld},
          {"kld_max", result.max_kld},
          {"top1_agreement", result.top1_agreement},
          {"token_perplexity", result.model.token_perplexity},
          {"perplexity_change", perplexity_change(result)}};
}

json unit_json(const UnitSensitivity& unit) {
  json modules = json::array();
  for (const TensorPlan* tensor : unit.unit.tensors) modules.push_back(tensor->spec->module());
  const bool saves = unit.unit.bytes_saved() > 0;
  json out = {{"name", unit.unit.name},
              {"modules", modules},
              {"selectors", unit.unit.selectors},
              {"bytes_before", unit.unit.bytes_before},
              {"bytes_after", unit.unit.bytes_after},
              {"kld_share", unit.share},
              {"kld_per_mib_saved", saves ? json(unit.divergence_per_mib()) : json(nullptr)},
              {"alone", divergence_json(unit.alone)}};
  if (unit.left_out) out["all_but_this"] = divergence_json(*unit.left_out);
  return out;
}

double bytes_share(const SensitivityResult& result, const UnitSensitivity& unit) {
  std::int64_t total = 0;
  for (const UnitSensitivity& each : result.units)
    total += std::max<std::int64_t>(0, each.unit.bytes_saved());
  const std::int64_t saved = std::max<std::int64_t>(0, unit.unit.bytes_saved());
  return total > 0 ? static_cast<double>(saved) / static_cast<double>(total) : 0;
}

std::string bytes_text(std::int64_t bytes) {
  return fmt::format("{}{}", bytes < 0 ? "-" : "", format_bytes(std::abs(bytes)));
}

std::string percent(double share) {
  return share < 0.0995 ? fmt::format("{:.1f} %", 100 * share)
                        : fmt::format("{:.0f} %", 100 * share);
}

std::string table_text(const SensitivityResult& result) {
  const bool left_out = result.units.front().left_out.has_value();
  std::vector<std::string> header = {"quantized", "saved",   "KLD",   "±",
                                     "share",     "KLD/MiB", "top-1", "perplexity"};
  if (left_out) header.emplace_back("KLD of the rest");
  Table table(header);
  const auto add = [&](const std::string& name, std::int64_t saved, const std::string& share,
                       const DivergenceResult& d, const std::string& rest) {
    const double mib = static_cast<double>(saved) / (1 << 20);
    std::vector<std::string> row = {name,
                                    bytes_text(saved),
                                    fmt::format("{:.6f}", d.mean_kld),
                                    d.mean_kld > 0 ? percent(d.mean_kld_error / d.mean_kld) : "-",
                                    share,
                                    saved > 0 ? fmt::format("{:.6f}", d.mean_kld / mib) : "-",
                                    fmt::format("{:.2f} %", 100 * d.top1_agreement),
                                    fmt::format("{:+.2f} %", 100 * perplexity_change(d))};
    if (left_out) row.push_back(rest);
    table.add(row);
  };
  for (const UnitSensitivity& unit : result.units) {
    add(unit.unit.name, unit.unit.bytes_saved(), percent(unit.share), unit.alone,
        left_out ? fmt::format("{:.6f}", unit.left_out->mean_kld) : "");
  }
  add("everything", result.bytes_before - result.bytes_after, "-", result.all, "-");
  return table.str();
}

// The lines of a recipe that keep these units.
std::string override_lines(const SensitivityResult& result) {
  std::vector<std::string> selectors;
  bool narrow = false;  // whether int8 would be a middle course
  for (const std::size_t i : result.keep) {
    const SensitivityUnit& unit = result.units[i].unit;
    for (const std::string& selector : unit.selectors) selectors.push_back(selector);
    for (const TensorPlan* tensor : unit.tensors) {
      narrow = narrow || tensor->scheme->weights.bits < 8;
    }
  }
  std::string lines = "overrides:\n  - match:\n";
  for (const std::string& selector : selectors) lines += fmt::format("      - '{}'\n", selector);
  lines += "    keep: true";
  if (narrow) lines += "  # or, for less: weights: {bits: 8, granularity: row}";
  return lines + "\n";
}

std::string advice_text(const SensitivityResult& result) {
  if (result.keep.empty()) {
    return "keep: nothing: no part costs twice its share of the bytes saved\n";
  }
  double divergence = 0, bytes = 0;
  std::string names;
  for (std::size_t k = 0; k < result.keep.size(); ++k) {
    const std::size_t i = result.keep[k];
    if (k < kMostNames) names += (k > 0 ? ", " : "") + result.units[i].unit.name;
    divergence += result.units[i].share;
    bytes += bytes_share(result, result.units[i]);
  }
  if (result.keep.size() > kMostNames) {
    names += fmt::format(" and {} more", result.keep.size() - kMostNames);
  }
  return fmt::format(
      "in a recipe:\n\n{}\nkeep: {}: {} of the divergence for {} of the bytes saved\n",
      override_lines(result), names, percent(divergence), percent(bytes));
}

}  // namespace

json to_json(const SensitivityResult& result) {
  const PerplexityResult& p = result.all.reference;
  json units = json::array(), keep = json::array();
  for (const UnitSensitivity& unit : result.units) units.push_back(unit_json(unit));
  for (const std::size_t i : result.keep) keep.push_back(result.units[i].unit.name);
  return {{"text", p.text},
          {"protocol", protocol_name(p.protocol)},
          {"window", p.window},
          {"bos", bos_policy_name(p.bos)},
          {"tokens", p.tokens},
          {"tokens_scored", p.scored},
          {"reference_perplexity", p.token_perplexity},
          {"bytes_before", result.bytes_before},
          {"bytes_after", result.bytes_after},
          {"units", units},
          {"kld_sum_of_units", result.sum_of_divergences()},
          {"everything", divergence_json(result.all)},
          {"keep", keep},
          {"overrides", result.keep.empty() ? json(nullptr) : json(override_lines(result))}};
}

std::string sensitivity_text(const SensitivityResult& result) {
  const PerplexityResult& p = result.all.reference;
  return table_text(result) +
         fmt::format(
             "\nper token on {}, protocol {}, window {}, {} of {} tokens scored, BOS {};\n"
             "each alone, against the float model (perplexity {:.6g}); share: of the sum "
             "{:.6f}\n\n",
             p.text, protocol_name(p.protocol), p.window, p.scored, p.tokens,
             bos_policy_name(p.bos), p.token_perplexity, result.sum_of_divergences()) +
         advice_text(result);
}

BarChart sensitivity_chart(const SensitivityResult& result, const std::string& title) {
  BarChart chart;
  chart.title = title;
  chart.subtitle =
      fmt::format("each quantized alone; KL divergence from the float model, {} tokens of {}",
                  result.all.reference.scored, result.all.reference.text);
  chart.first = "share of the divergence";
  chart.marked = result.keep.empty() ? "" : "worth keeping";
  chart.second = "share of the bytes saved";
  const double sum = result.sum_of_divergences();
  for (std::size_t i = 0; i < std::min(kMostBars, result.units.size()); ++i) {
    const UnitSensitivity& unit = result.units[i];
    chart.rows.push_back(
        {unit.unit.name, unit.share, bytes_share(result, unit),
         sum > 0 ? unit.alone.mean_kld_error / sum : 0,
         fmt::format("{:.2g} nats, {} saved", unit.alone.mean_kld,
                     bytes_text(unit.unit.bytes_saved())),
         std::find(result.keep.begin(), result.keep.end(), i) != result.keep.end()});
  }
  if (result.units.size() > kMostBars) {
    chart.subtitle += fmt::format("; the costliest {} of {}", kMostBars, result.units.size());
  }
  return chart;
}

}  // namespace aquatint
