// Sampling on a GPU: a block chooses the token of one row. No sort: the place that a filter or the
// draw asks for is found in a histogram of the logits, and then among the few tokens of one of its
// bins. docs/kernels/sample.md has the method.
#define AQUATINT_SAMPLING __device__ inline

#include "kernels/cuda_rows.cuh"
#include "kernels/sample/cuda_args.h"
#include "kernels/sample/sample_arithmetic.h"

namespace aquatint::kernels {
namespace {

using Weight = unsigned long long;

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / cuda::kWarp;
constexpr int kBins = kThreads;  // each thread looks after one
// Tokens that are compared each with each; of more, a closer histogram is made.
constexpr int kListed = 256;

struct Candidate {
  float logit;
  int token;
  Weight weight;
};

// How many tokens, and what they weigh together.
struct Amount {
  unsigned count;
  Weight weight;
};

struct Shared {
  Weight weights[kBins];
  unsigned counts[kBins];
  Candidate list[kListed];
  Weight scratch[cuda::kWarp];
  Amount of_warps[kWarps];
  // The bin that a search ended in, and what comes before it.
  int bin;
  unsigned in_bin, listed;
  Amount before_bin;
  // The token that a search found; the weight of all up to it.
  int token;
  Weight through;
};

struct Row {
  const float* logits;
  int n;
  float best;
  double halvings;

  __device__ Weight weight(float logit) const {
    return sampling::weight_of(logit, best, halvings);
  }
};

// Calls body(logit, token) for all tokens, some in each thread.
template <typename Body>
__device__ void for_each_token(const float* logits, int n, const Body& body) {
  const bool aligned = reinterpret_cast<uintptr_t>(logits) % sizeof(float4) == 0;
  const int fours = aligned ? n / 4 : 0;
  for (int i = static_cast<int>(threadIdx.x); i < fours; i += kThreads) {
    const float4 four = reinterpret_cast<const float4*>(logits)[i];
    body(four.x, 4 * i);
    body(four.y, 4 * i + 1);
    body(four.z, 4 * i + 2);
    body(four.w, 4 * i + 3);
  }
  for (int i = 4 * fours + static_cast<int>(threadIdx.x); i < n; i += kThreads) body(logits[i], i);
}

// An integer that orders like the number, both zeros alike; NaN is above all.
__device__ unsigned ordered(float x) {
  if (isnan(x)) return ~0u;
  const unsigned bits = __float_as_uint(x + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ float number_of(unsigned order) {
  return __uint_as_float((order & 0x80000000u) != 0 ? order & 0x7fffffffu : ~order);
}

template <typename T>
__device__ T block_max(T value, Shared& s) {
  return cuda::block_reduce(value, reinterpret_cast<T*>(s.scratch),
                            [](T a, T b) { return a > b ? a : b; });
}

template <typename T>
__device__ T block_sum(T value, Shared& s) {
  return cuda::block_reduce(value, reinterpret_cast<T*>(s.scratch), [](T a, T b) { return a + b; });
}

// Logits from `high` down to `low`, in bins of even width.
struct Range {
  float high, low;
  double bins_per_unit;

  __device__ bool holds(float logit) const { return logit <= high && logit >= low; }
  // Never decreases as the logit does. REQUIRES: the range holds it, and it has a weight.
  __device__ int bin(float logit) const {
    if (logit == high) return 0;
    const double distance = static_cast<double>(high) - static_cast<double>(logit);
    return min(kBins - 1, static_cast<int>(distance * bins_per_unit));
  }
};

// `end` is where bins end: `low`, or above it where nothing lies between.
__device__ Range range_of(float high, float low, double end) {
  const double width = static_cast<double>(high) - end;
  const bool wide = width > 0 && isfinite(high);
  return {high, low, wide ? kBins / width : 0.0};
}

// The sum of the amounts of this thread and those before it.
__device__ Amount sum_up_to(const Amount& mine, Shared& s) {
  const int lane = static_cast<int>(threadIdx.x) % cuda::kWarp;
  const int warp = static_cast<int>(threadIdx.x) / cuda::kWarp;
  Amount sum = mine;
  for (int offset = 1; offset < cuda::kWarp; offset *= 2) {
    const unsigned count = __shfl_up_sync(~0u, sum.count, offset);
    const Weight weight = __shfl_up_sync(~0u, sum.weight, offset);
    if (lane >= offset) {
      sum.count += count;
      sum.weight += weight;
    }
  }
  if (lane == cuda::kWarp - 1) s.of_warps[warp] = sum;
  __syncthreads();
  for (int i = 0; i < warp; ++i) {
    sum.count += s.of_warps[i].count;
    sum.weight += s.of_warps[i].weight;
  }
  __syncthreads();
  return sum;
}

// Leaves the histogram of the tokens of a range that have a weight in `s`. Returns what those of
// this thread weigh that are not below `least`.
__device__ Weight histogram(const Row& row, const Range& range, Weight least, Shared& s) {
  Weight of_min_p = 0;
  s.counts[threadIdx.x] = 0;
  s.weights[threadIdx.x] = 0;
  __syncthreads();
  for_each_token(row.logits, row.n, [&](float logit, int) {
    if (!range.holds(logit)) return;
    const Weight weight = row.weight(logit);
    if (weight == 0) return;
    const int bin = range.bin(logit);
    atomicAdd(&s.counts[bin], 1u);
    atomicAdd(&s.weights[bin], weight);
    if (weight >= least) of_min_p += weight;
  });
  __syncthreads();
  return of_min_p;
}

// What is looked for: the token with which a count of tokens, or else their weight, passes
// `target`.
struct Goal {
  Weight target;
  bool count;

  __device__ Weight of(const Amount& amount) const { return count ? amount.count : amount.weight; }
  // Whether it lies in what `here` adds to `before`.
  __device__ bool in(const Amount& before, const Amount& here) const {
    return of(before) <= target && target - of(before) < of(here);
  }
};

// Compares the tokens of a bin each with each. Leaves the one looked for in `s`.
__device__ void find_in_list(const Row& row, const Range& range, int bin, int count,
                             const Goal& goal, Shared& s) {
  for_each_token(row.logits, row.n, [&](float logit, int token) {
    if (!range.holds(logit) || range.bin(logit) != bin) return;
    const Weight weight = row.weight(logit);
    if (weight > 0) s.list[atomicAdd(&s.listed, 1u)] = {logit, token, weight};
  });
  __syncthreads();
  if (static_cast<int>(threadIdx.x) < count) {
    const Candidate mine = s.list[threadIdx.x];
    Amount likelier = s.before_bin;
    for (int i = 0; i < count; ++i) {
      const Candidate& other = s.list[i];
      const bool earlier = other.logit > mine.logit ||
                           (other.logit == mine.logit && other.token < mine.token);
      likelier.count += earlier ? 1 : 0;
      likelier.weight += earlier ? other.weight : 0;
    }
    if (goal.in(likelier, {1, mine.weight})) {
      s.token = mine.token;
      s.through = likelier.weight + mine.weight;
    }
  }
  __syncthreads();
}

// The same among any number of equal logits, which come in the order of their tokens.
__device__ void find_among_equals(const Row& row, float logit, const Goal& goal,
                                  Shared& s) {
  const Weight weight = row.weight(logit);
  const Weight index = (goal.target - goal.of(s.before_bin)) / (goal.count ? 1 : weight);
  const int share = (row.n + kThreads - 1) / kThreads;
  const int begin = min(row.n, static_cast<int>(threadIdx.x) * share);
  const int end = min(row.n, begin + share);
  Amount mine{};
  for (int i = begin; i < end; ++i) mine.count += row.logits[i] == logit ? 1 : 0;
  const unsigned earlier = sum_up_to(mine, s).count - mine.count;
  if (earlier <= index && index - earlier < mine.count) {
    Weight left = index - earlier;
    int i = begin;
    while (row.logits[i] != logit || left-- > 0) ++i;
    s.token = i;
    s.through = s.before_bin.weight + (index + 1) * weight;
  }
  __syncthreads();
}

// The range from the highest to the lowest logit of a bin.
__device__ Range closer(const Row& row, const Range& range, int bin, Shared& s) {
  unsigned most = 0, most_below = 0;
  for_each_token(row.logits, row.n, [&](float logit, int) {
    if (!range.holds(logit) || range.bin(logit) != bin || row.weight(logit) == 0) return;
    most = max(most, ordered(logit));
    most_below = max(most_below, ~ordered(logit));
  });
  const float high = number_of(block_max(most, s));
  const float low = number_of(~block_max(most_below, s));
  return range_of(high, low, low);
}

// Leaves the token looked for in `s`, where the histogram of `range` is, which begins with the
// likeliest token. Each round leaves fewer tokens: the highest and the lowest logit of a range are
// in different bins if they are not equal. Returns whether the histogram is still there.
__device__ bool find(const Row& row, Range range, const Goal& goal, Shared& s) {
  if (threadIdx.x == 0) s.before_bin = {};
  for (bool first = true;; first = false) {
    const Amount here{s.counts[threadIdx.x], s.weights[threadIdx.x]};
    Amount before = sum_up_to(here, s);
    before.count += s.before_bin.count - here.count;
    before.weight += s.before_bin.weight - here.weight;
    __syncthreads();
    if (goal.in(before, here)) {
      s.bin = static_cast<int>(threadIdx.x);
      s.in_bin = here.count;
      s.before_bin = before;
      s.listed = 0;
    }
    __syncthreads();
    const int bin = s.bin, count = static_cast<int>(s.in_bin);
    if (count <= kListed) {
      find_in_list(row, range, bin, count, goal, s);
      return first;
    }
    range = closer(row, range, bin, s);
    if (range.high == range.low) {
      find_among_equals(row, range.high, goal, s);
      return first;
    }
    histogram(row, range, 0, s);
  }
}

__device__ int draw(const Row& row, float lowest, const SampleRow& how, Shared& s) {
  // Below this nothing has a weight, and bins would be wasted.
  const double last = static_cast<double>(row.best) - sampling::kHalvings / row.halvings;
  const float none = -__int_as_float(0x7f800000);
  const Range range = range_of(row.best, none, fmax(last, static_cast<double>(lowest)));
  Weight of_min_p = histogram(row, range, sampling::least_weight(how.min_p), s);
  of_min_p = block_sum(of_min_p, s);
  Weight kept = block_sum(s.weights[threadIdx.x], s);
  // The last token that top-k keeps; the last that top-p keeps; the one drawn.
  bool there = true;
  for (int step = 0; step < 3; ++step) {
    Goal goal{0, false};
    if (step == 0) {
      if (how.top_k == 0 || how.top_k >= block_sum(s.counts[threadIdx.x], s)) continue;
      goal = {static_cast<Weight>(how.top_k) - 1, true};
    } else if (step == 1) {
      if (how.top_p == 1) continue;
      goal.target = sampling::weight_to_keep(kept, how.top_p) - 1;
    } else {
      goal.target = sampling::drawn(how.random, min(kept, of_min_p));
    }
    if (!there) histogram(row, range, 0, s);
    there = find(row, range, goal, s);
    kept = s.through;
  }
  return s.token;
}

__global__ void __launch_bounds__(kThreads) sample(SampleCudaArgs a) {
  __shared__ Shared s;
  const SampleRow& how = a.how[blockIdx.x];
  float* logits = a.logits + blockIdx.x * a.ld;
  const int n = static_cast<int>(a.allowed);
  if (how.repetition_penalty != 1) {
    for (int64_t i = threadIdx.x; i < how.seen; i += kThreads) {
      const int token = a.seen[how.first_seen + i];
      if (token < 0 || token >= n) continue;
      logits[token] = sampling::penalized(logits[token], how.repetition_penalty);
    }
    __syncthreads();
  }
  Weight best = 0;  // above, its place in the order; below, the complement of the token
  unsigned most_below = 0;
  for_each_token(logits, n, [&](float logit, int token) {
    const unsigned order = ordered(logit);
    best = max(best, Weight{order} << 32 | ~static_cast<unsigned>(token));
    most_below = max(most_below, ~order);
  });
  best = block_max(best, s);
  most_below = block_max(most_below, s);
  const auto order = static_cast<unsigned>(best >> 32);
  int token = static_cast<int>(~static_cast<unsigned>(best));
  if (order == ~0u) {
    token = -1;
  } else if (how.temperature != 0) {
    const Row row{logits, n, number_of(order), sampling::halvings_per_unit(how.temperature)};
    token = draw(row, number_of(~most_below), how, s);
  }
  if (threadIdx.x == 0) a.tokens[blockIdx.x] = token;
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_sample(const aquatint::kernels::SampleCudaArgs* args,
                                    const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0) return cudaSuccess;
  const auto rows = static_cast<unsigned>(args->rows);
  sample<<<rows, kThreads, 0, static_cast<cudaStream_t>(launch->stream)>>>(*args);
  return cudaGetLastError();
}
