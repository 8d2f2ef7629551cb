// How far a model's predictions are from those of a reference model, usually the one it was
// quantized from, token by token on the same text: the Kullback-Leibler divergence sees loss of
// quality long before perplexity, whose noise is a percent or two on short texts, does.
#pragma once

#include <cstdint>
#include <span>

#include "eval/log_softmax.h"
#include "eval/perplexity.h"

namespace aquatint {

// Of the scored tokens of a text; divergences in nats per token.
struct DivergenceResult {
  PerplexityResult model, reference;  // from the same pass
  double mean_kld = 0;                // of Σ p_ref (log p_ref - log p) over the vocabulary
  double mean_kld_error = 0;          // one standard error, tokens taken as independent
  double median_kld = 0, p90_kld = 0, p95_kld = 0, p99_kld = 0, max_kld = 0;
  double top1_agreement = 0;  // share of tokens where both hold the same token most probable
  double top1_agreement_error = 0;
  double mean_probability_change = 0;  // of p - p_ref of the token that followed
  double rms_probability_change = 0;
};

// Runs both models in lockstep over the windows that the options choose for the reference; logits
// of one step are held. Error kInvalidArgument when the vocabularies differ in size or the
// tokenizers in the ids of the text; kNumeric for NaN or infinite logits; otherwise as plan_text.
DivergenceResult evaluate_divergence(Model& model, const Tokenizer& tokenizer, Model& reference,
                                     const Tokenizer& reference_tokenizer, const TextData& data,
                                     const PerplexityOptions& options);

// The summary of per-token comparisons in the order of the plan; times are of each model's part.
DivergenceResult summarize_divergence(const TextPlan& plan, std::span<const RowDivergence> rows,
                                      double seconds, double reference_seconds);

}  // namespace aquatint
