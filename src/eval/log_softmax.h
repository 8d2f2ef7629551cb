// The reductions over one row of logits that scores are made of: log-probabilities over the whole
// vocabulary, and how far two models' distributions are apart. Exponentials in float32, sums in
// float64 in a fixed order, so that results do not depend on threads.
#pragma once

#include <cstdint>

namespace aquatint {

// log Σ exp(logits[i]), stable for any finite logits; NaN when a logit is NaN or +infinity.
double log_sum_exp(const float* logits, std::int64_t n);

// Index of the largest logit, the first among equals.
std::int64_t argmax(const float* logits, std::int64_t n);

// A model against a reference on one token.
struct RowDivergence {
  double kld = 0;  // Σ p_ref (log p_ref - log p) in nats
  double nll = 0;  // -log p of the token that followed
  double reference_nll = 0;
  bool same_top = false;  // whether both hold the same token for the most probable
};

// Compares two rows of n logits; `target` is the token that followed. Errors of single divergences
// stay below 1e-7; equal rows have none. Fields are NaN when a logit is.
RowDivergence compare_rows(const float* reference, const float* model, std::int64_t n,
                           std::int32_t target);

}  // namespace aquatint
