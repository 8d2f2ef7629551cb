#include "eval/eval_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"

namespace aquatint {
namespace {

using Row = std::vector<std::string>;

nlohmann::json or_null(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

std::string or_dash(const std::optional<double>& value) {
  return value ? fmt::format("{:.4f}", *value) : "-";
}

// First columns of every table: what was measured and how.
Row protocol_cells(const std::string& task, const PerplexityResult& result) {
  return {task,
          protocol_name(result.protocol),
          fmt::format("{}", result.window),
          bos_policy_name(result.bos),
          fmt::format("{}", result.tokens),
          fmt::format("{}", result.scored)};
}
const Row kProtocolHeads = {"task", "protocol", "window", "bos", "tokens", "scored"};
constexpr std::size_t kTextColumns = 2;  // the others hold numbers, right-aligned; but for "bos"

Row perplexity_row(const std::string& task, const PerplexityResult& result) {
  Row row = protocol_cells(task, result);
  row.push_back(
      fmt::format("{:.4f} ± {:.4f}", result.token_perplexity, result.token_perplexity_error));
  row.push_back(or_dash(result.word_perplexity));
  row.push_back(or_dash(result.byte_perplexity));
  row.push_back(or_dash(result.bits_per_byte));
  row.push_back(fmt::format("{:.0f}", result.tokens_per_second));
  return row;
}

Row divergence_row(const std::string& task, const DivergenceResult& result) {
  Row row = protocol_cells(task, result.model);
  row.push_back(fmt::format("{:.6f} ± {:.6f}", result.mean_kld, result.mean_kld_error));
  for (const double value :
       {result.median_kld, result.p90_kld, result.p95_kld, result.p99_kld, result.max_kld}) {
    row.push_back(fmt::format("{:.6f}", value));
  }
  row.push_back(fmt::format("{:.2f} ± {:.2f} %", 100 * result.top1_agreement,
                            100 * result.top1_agreement_error));
  row.push_back(fmt::format("{:+.3f} %", 100 * result.mean_probability_change));
  row.push_back(fmt::format("{:.3f} %", 100 * result.rms_probability_change));
  row.push_back(fmt::format("{:.4f}", result.reference.token_perplexity));
  row.push_back(fmt::format(
      "{:+.2f} %", 100 * (result.model.token_perplexity / result.reference.token_perplexity - 1)));
  return row;
}

// Characters, not bytes: cells hold "±".
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

void append_lines(const std::vector<Row>& rows, std::vector<std::string>& lines) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width(row[i]), ' ');
      line += i < kTextColumns ? row[i] + padding : padding + row[i];
      if (i + 1 < row.size()) line += "  ";
    }
    lines.push_back(std::move(line));
  }
}

Row heads(std::initializer_list<const char*> measures) {
  Row row = kProtocolHeads;
  row.insert(row.end(), measures.begin(), measures.end());
  return row;
}

}  // namespace

nlohmann::json to_json(const PerplexityResult& result) {
  return {{"text", result.text},
          {"protocol", protocol_name(result.protocol)},
          {"window", result.window},
          {"bos", bos_policy_name(result.bos)},
          {"tokens", result.tokens},
          {"tokens_scored", result.scored},
          {"windows", result.windows},
          {"documents", result.documents},
          {"words", result.words},
          {"bytes", result.bytes},
          {"nll_sum", result.nll},
          {"token_perplexity", result.token_perplexity},
          {"token_perplexity_stderr", result.token_perplexity_error},
          {"word_perplexity", or_null(result.word_perplexity)},
          {"byte_perplexity", or_null(result.byte_perplexity)},
          {"bits_per_byte", or_null(result.bits_per_byte)},
          {"seconds", result.seconds},
          {"tokens_per_second", result.tokens_per_second}};
}

nlohmann::json to_json(const DivergenceResult& result) {
  return {{"model", to_json(result.model)},
          {"reference", to_json(result.reference)},
          {"kld_mean", result.mean_kld},
          {"kld_mean_stderr", result.mean_kld_error},
          {"kld_median", result.median_kld},
          {"kld_p90", result.p90_kld},
          {"kld_p95", result.p95_kld},
          {"kld_p99", result.p99_kld},
          {"kld_max", result.max_kld},
          {"top1_agreement", result.top1_agreement},
          {"top1_agreement_stderr", result.top1_agreement_error},
          {"probability_change_mean", result.mean_probability_change},
          {"probability_change_rms", result.rms_probability_change}};
}

nlohmann::json to_json(const EvalResult& result) {
  nlohmann::json json = {{"task", result.task}};
  if (result.perplexity) json["perplexity"] = to_json(*result.perplexity);
  if (result.divergence) json["divergence"] = to_json(*result.divergence);
  return json;
}

std::vector<std::string> eval_table(std::span<const EvalResult> results) {
  std::vector<Row> perplexities = {
      heads({"token perplexity", "word ppl", "byte ppl", "bits/byte", "tokens/s"})};
  std::vector<Row> divergences = {
      heads({"mean KLD", "median", "p90", "p95", "p99", "max", "same top token", "mean Δp",
             "rms Δp", "reference ppl", "change"})};
  for (const EvalResult& result : results) {
    if (result.perplexity) perplexities.push_back(perplexity_row(result.task, *result.perplexity));
    if (result.divergence) divergences.push_back(divergence_row(result.task, *result.divergence));
  }
  std::vector<std::string> lines;
  if (perplexities.size() > 1) append_lines(perplexities, lines);
  if (divergences.size() > 1) {
    if (!lines.empty()) lines.emplace_back();
    append_lines(divergences, lines);
  }
  return lines;
}

}  // namespace aquatint
