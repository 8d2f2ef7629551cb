// The arithmetic of sampling, which docs/kernels/sample.md explains. Probabilities are integers, so
// that sums do not depend on their order and every device chooses the same token. Plain C, because
// CUDA sources compile it too: they define AQUATINT_SAMPLING as what their functions begin with.
#pragma once

#include <math.h>
#include <stdint.h>

#ifndef AQUATINT_SAMPLING
#define AQUATINT_SAMPLING inline
#endif

namespace aquatint::kernels::sampling {

// Sums of this many weights fit in 64 bits.
constexpr int64_t kMostTokens = int64_t{1} << 23;
// The weight of the likeliest token. Those less likely by more than this factor have none.
constexpr uint64_t kWholeWeight = uint64_t{1} << 40;
// Halvings after which nothing is left of it.
constexpr double kHalvings = 41;

// A seen token's logit, as the Hugging Face generation loop weakens it.
AQUATINT_SAMPLING float penalized(float logit, float penalty) {
  return logit > 0 ? logit / penalty : logit * penalty;
}

// Halvings of the probability per unit of the logit.
AQUATINT_SAMPLING double halvings_per_unit(float temperature) {
  return 1.4426950408889634 / static_cast<double>(temperature);
}

// 2^(31 - fraction / 2^24): the power series in 32-bit fixed point, its terms ln(2)^k / k! 2^31.
// Decreases with every step of the fraction, because errors are below a tenth of a step.
AQUATINT_SAMPLING uint32_t power_of_half(uint32_t fraction) {
  const uint64_t x = static_cast<uint64_t>(fraction) << 8;
  uint64_t sum = 15;
  sum = 219 - (x * sum >> 32);
  sum = 2838 - (x * sum >> 32);
  sum = 32755 - (x * sum >> 32);
  sum = 330788 - (x * sum >> 32);
  sum = 2863360 - (x * sum >> 32);
  sum = 20654775 - (x * sum >> 32);
  sum = 119194166 - (x * sum >> 32);
  sum = 515882496 - (x * sum >> 32);
  sum = 1488522236 - (x * sum >> 32);
  return static_cast<uint32_t>(2147483648 - (x * sum >> 32));
}

// exp((logit - best) / temperature) in units of 1 / kWholeWeight, rounded down. REQUIRES: the logit
// is not above the best one. Never increases as the logit decreases.
AQUATINT_SAMPLING uint64_t weight_of(float logit, float best, double halvings) {
  if (logit == best) return kWholeWeight;  // the difference of infinite ones would be NaN
  const double depth = (static_cast<double>(best) - static_cast<double>(logit)) * halvings;
  if (!(depth < kHalvings)) return 0;
  const auto fixed = static_cast<uint32_t>(depth * 16777216.0);
  return (static_cast<uint64_t>(power_of_half(fixed & 0xffffffu)) << 9) >> (fixed >> 24);
}

// The least weight that min-p keeps.
AQUATINT_SAMPLING uint64_t least_weight(float min_p) {
  const double least = ceil(static_cast<double>(min_p) * static_cast<double>(kWholeWeight));
  return least > 1 ? static_cast<uint64_t>(least) : 1;
}

// What the likeliest tokens must sum to for top-p; from 1 to `total`.
AQUATINT_SAMPLING uint64_t weight_to_keep(uint64_t total, float top_p) {
  const double share = ceil(static_cast<double>(top_p) * static_cast<double>(total));
  if (!(share < static_cast<double>(total))) return total;
  return share > 1 ? static_cast<uint64_t>(share) : 1;
}

// random / 2^64 of `total`, rounded down: the upper half of their product.
AQUATINT_SAMPLING uint64_t drawn(uint64_t random, uint64_t total) {
  const uint64_t a = random >> 32, b = random & 0xffffffffu;
  const uint64_t c = total >> 32, d = total & 0xffffffffu;
  const uint64_t middle = a * d + (b * d >> 32);
  const uint64_t other = b * c + (middle & 0xffffffffu);
  return a * c + (middle >> 32) + (other >> 32);
}

}  // namespace aquatint::kernels::sampling
