#include "eval/perplexity.h"

#include <cmath>

#include "base/error.h"
#include "base/progress.h"
#include "base/threads.h"
#include "eval/log_softmax.h"
#include "eval/statistics.h"
#include "eval/window_runner.h"

namespace aquatint {
namespace {

// losses[i] = -log p of target i, for rows of logits in parallel.
void score_rows(const ScoredRows& rows, std::int64_t vocab, double* losses) {
  parallel_for(static_cast<std::int64_t>(rows.targets.size()), 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const float* logits = rows.logits + i * vocab;
                   const TokenId target = rows.targets[static_cast<std::size_t>(i)];
                   losses[i] = log_sum_exp(logits, vocab) - static_cast<double>(logits[target]);
                   if (!std::isfinite(losses[i])) {
                     raise(ErrorKind::kNumeric, "the model's logits hold NaN or infinity");
                   }
                 }
               });
}

}  // namespace

LengthLimits length_limits(const Model& model) {
  return {model.architecture().context_length(), model.architecture().max_positions()};
}

PerplexityResult make_perplexity_result(const TextPlan& plan, std::span<const double> losses,
                                        double seconds) {
  PerplexityResult result;
  result.text = plan.name;
  result.protocol = plan.options.protocol;
  result.window = plan.options.window;
  result.bos = plan.options.bos;
  result.tokens = plan.tokens();
  result.scored = static_cast<std::int64_t>(losses.size());
  result.windows = static_cast<std::int64_t>(plan.windows.size());
  result.documents = plan.documents;
  result.words = plan.words;
  result.bytes = plan.bytes;
  for (const double loss : losses) result.nll += loss;
  const MeanAndError loss = mean_and_error(losses);
  result.token_perplexity = std::exp(loss.mean);
  result.token_perplexity_error = result.token_perplexity * loss.error;
  if (plan.whole && plan.bytes > 0) {
    result.word_perplexity = std::exp(result.nll / static_cast<double>(plan.words));
    result.byte_perplexity = std::exp(result.nll / static_cast<double>(plan.bytes));
    result.bits_per_byte = result.nll / static_cast<double>(plan.bytes) / std::log(2.0);
  }
  result.seconds = seconds;
  result.tokens_per_second = seconds > 0 ? static_cast<double>(plan.rows()) / seconds : 0;
  return result;
}

PerplexityResult evaluate_perplexity(Model& model, const Tokenizer& tokenizer, const TextData& data,
                                     const PerplexityOptions& options) {
  const TextPlan plan = plan_text(data, tokenizer, length_limits(model), options);
  const auto batch = static_cast<std::size_t>(windows_per_batch(model, plan));
  std::vector<double> losses(static_cast<std::size_t>(plan.scored()));
  Progress progress("perplexity of " + plan.name, "tokens", plan.rows());
  WindowRunner runner(model, plan);
  double* batch_losses = losses.data();
  for (std::size_t first = 0; first < plan.windows.size(); first += batch) {
    progress.advance(runner.start(first, std::min(batch, plan.windows.size() - first)));
    std::vector<double*> slots;
    for (const TextPlan::Item& item : runner.batch()) {
      slots.push_back(batch_losses);
      batch_losses += item.window.scored();
    }
    while (!runner.finished()) {
      progress.advance(runner.advance(Model::kStepRows, [&](const ScoredRows& rows) {
        score_rows(rows, model.vocab_size(), slots[rows.slot] + rows.first);
      }));
    }
  }
  return make_perplexity_result(plan, losses, runner.seconds());
}

}  // namespace aquatint
