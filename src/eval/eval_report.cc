#include "eval/eval_report.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"

namespace aquatint {
namespace {

nlohmann::json or_null(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

// "  KL divergence         0.000817", names in one column.
std::string measure_line(const char* name, const std::string& value) {
  return fmt::format("  {:<20}  {}", name, value);
}

void append_optional(const char* name, const std::optional<double>& value,
                     std::vector<std::string>& lines) {
  if (value) lines.push_back(measure_line(name, fmt::format("{:.6g}", *value)));
}

// What was measured and how; numbers compare only where all of this is the same.
std::string heading(const std::string& task, const PerplexityResult& result) {
  return fmt::format("{}: protocol {}, window {}, BOS {}, {} of {} tokens scored, {:.0f} tokens/s",
                     task, protocol_name(result.protocol), result.window,
                     bos_policy_name(result.bos), result.scored, result.tokens,
                     result.tokens_per_second);
}

void append_perplexity(const PerplexityResult& result, std::vector<std::string>& lines) {
  append_optional("word perplexity", result.word_perplexity, lines);
  append_optional("byte perplexity", result.byte_perplexity, lines);
  append_optional("bits per byte", result.bits_per_byte, lines);
  lines.push_back(measure_line(
      "token perplexity",
      fmt::format("{:.4f} ± {:.4f}", result.token_perplexity, result.token_perplexity_error)));
}

void append_divergence(const DivergenceResult& result, std::vector<std::string>& lines) {
  const double reference = result.reference.token_perplexity;
  const double change = result.model.token_perplexity / reference - 1;
  lines.push_back(measure_line("reference perplexity",
                               fmt::format("{:.4f}, change {:+.2f} %", reference, 100 * change)));
  lines.push_back(measure_line(
      "KL divergence",
      fmt::format("{:.6f} ± {:.6f} nats per token", result.mean_kld, result.mean_kld_error)));
  lines.push_back(measure_line(
      "", fmt::format("median {:.6f}, 90 % {:.6f}, 95 % {:.6f}, 99 % {:.6f}, largest {:.6f}",
                      result.median_kld, result.p90_kld, result.p95_kld, result.p99_kld,
                      result.max_kld)));
  lines.push_back(
      measure_line("same top token", fmt::format("{:.2f} ± {:.2f} %", 100 * result.top1_agreement,
                                                 100 * result.top1_agreement_error)));
  lines.push_back(measure_line(
      "probability change",
      fmt::format("mean {:+.3f} %, root mean square {:.3f} %", 100 * result.mean_probability_change,
                  100 * result.rms_probability_change)));
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

std::vector<std::string> eval_lines(std::span<const EvalResult> results) {
  std::vector<std::string> lines;
  for (const EvalResult& result : results) {
    const PerplexityResult* perplexity = result.divergence   ? &result.divergence->model
                                         : result.perplexity ? &*result.perplexity
                                                             : nullptr;
    if (perplexity == nullptr) continue;
    if (!lines.empty()) lines.emplace_back();
    lines.push_back(heading(result.task, *perplexity));
    append_perplexity(*perplexity, lines);
    if (result.divergence) append_divergence(*result.divergence, lines);
  }
  return lines;
}

}  // namespace aquatint
