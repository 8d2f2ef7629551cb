#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "kernels/sample/sample.h"
#include "kernels/sample/sample_arithmetic.h"

namespace aquatint::kernels::detail {
namespace {

struct Candidate {
  float logit;
  std::int32_t token;
  std::uint64_t weight;
};

bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// The k likeliest tokens. Most are compared with the least likely of k and dropped.
std::vector<Candidate> likeliest(const float* logits, std::int64_t allowed, std::int64_t k) {
  std::vector<Candidate> heap;
  heap.reserve(static_cast<std::size_t>(k));
  for (std::int64_t i = 0; i < allowed; ++i) {
    const Candidate candidate{logits[i], static_cast<std::int32_t>(i), 0};
    if (i >= k) {
      if (!likelier(candidate, heap.front())) continue;
      std::pop_heap(heap.begin(), heap.end(), likelier);
      heap.pop_back();
    }
    heap.push_back(candidate);
    std::push_heap(heap.begin(), heap.end(), likelier);
  }
  return heap;
}

// Those that top-k keeps and that have a weight, in any order.
std::vector<Candidate> candidates(const float* logits, std::int64_t allowed, float best,
                                  const SampleRow& how) {
  const double halvings = sampling::halvings_per_unit(how.temperature);
  std::vector<Candidate> all;
  if (how.top_k > 0 && how.top_k < allowed) {
    all = likeliest(logits, allowed, how.top_k);
    for (Candidate& c : all) c.weight = sampling::weight_of(c.logit, best, halvings);
    std::erase_if(all, [](const Candidate& c) { return c.weight == 0; });
    return all;
  }
  for (std::int64_t i = 0; i < allowed; ++i) {
    const std::uint64_t weight = sampling::weight_of(logits[i], best, halvings);
    if (weight > 0) all.push_back({logits[i], static_cast<std::int32_t>(i), weight});
  }
  return all;
}

// Candidates in order, sorted only as far as they are asked for.
class InOrder {
 public:
  explicit InOrder(std::vector<Candidate> all) : all_(std::move(all)) {
    std::make_heap(all_.begin(), all_.end(), later);
  }
  const Candidate& operator[](std::size_t i) {
    for (; sorted_ <= i; ++sorted_) {
      std::pop_heap(all_.begin(), all_.end() - static_cast<std::ptrdiff_t>(sorted_), later);
    }
    return all_[all_.size() - 1 - i];
  }

 private:
  static bool later(const Candidate& a, const Candidate& b) { return likelier(b, a); }
  std::vector<Candidate> all_;
  std::size_t sorted_ = 0;  // at the end, the first one last
};

}  // namespace

std::int32_t sample_row_reference(float* logits, std::int64_t allowed, const SampleRow& how,
                                  const std::int32_t* seen) {
  for (std::int64_t i = 0; how.repetition_penalty != 1 && i < how.seen; ++i) {
    const std::int32_t token = seen[how.first_seen + i];
    if (token < 0 || token >= allowed) continue;
    logits[token] = sampling::penalized(logits[token], how.repetition_penalty);
  }
  std::int64_t best = 0;
  for (std::int64_t i = 0; i < allowed; ++i) {
    if (std::isnan(logits[i])) return kNoToken;
    if (logits[i] > logits[best]) best = i;
  }
  if (how.temperature == 0) return static_cast<std::int32_t>(best);

  auto all = candidates(logits, allowed, logits[best], how);
  const std::uint64_t least = sampling::least_weight(how.min_p);
  std::uint64_t total = 0, of_min_p = 0, of_top_p = 0;
  for (const Candidate& c : all) {
    total += c.weight;
    if (c.weight >= least) of_min_p += c.weight;
  }
  InOrder in_order(std::move(all));
  const std::uint64_t to_keep = sampling::weight_to_keep(total, how.top_p);
  if (to_keep == total) of_top_p = total;
  for (std::size_t i = 0; of_top_p < to_keep; ++i) of_top_p += in_order[i].weight;
  // Each filter keeps the first tokens of the same order, so that the least sum is that of the
  // tokens which all of them keep.
  std::uint64_t left = sampling::drawn(how.random, std::min(of_min_p, of_top_p));
  std::size_t chosen = 0;
  while (left >= in_order[chosen].weight) left -= in_order[chosen++].weight;
  return in_order[chosen].token;
}

}  // namespace aquatint::kernels::detail
