#include "kernels/rope/rope.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/rope/cuda_args.h"
#include "kernels/rope/rope_variants.h"

namespace aquatint::kernels {
namespace {

// Values a thread should have before another one is worth waking.
constexpr std::int64_t kValuesPerPart = 16384;

RopeFn active_variant() {
  RopeFn best = nullptr;
  for (const auto& variant : rope_variants()) {
    if (variant.isa <= active_isa()) best = variant.run;
  }
  return best;
}

void check(const float* x, std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
           const std::int32_t* positions, const float* inv_freq) {
  if (rows < 0 || heads < 1 || head_dim < 2 || head_dim % 2 != 0) {
    raise(ErrorKind::kInvalidArgument,
          "rotary embedding: {} rows of {} heads of {} values (an even number is needed)", rows,
          heads, head_dim);
  }
  if (rows > 0 && (x == nullptr || positions == nullptr || inv_freq == nullptr)) {
    raise(ErrorKind::kInvalidArgument, "rotary embedding: no {} array",
          x == nullptr ? "value" : (positions == nullptr ? "position" : "frequency"));
  }
}

}  // namespace

const std::vector<RopeVariant>& rope_variants() {
  static const std::vector<RopeVariant> variants = {
    {Isa::kReference, rope_reference},
#if defined(__x86_64__)
    {Isa::kAvx2, rope_avx2},
    {Isa::kAvx512, rope_avx512},
#endif
  };
  return variants;
}

void rope(float* x, std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
          const std::int32_t* positions, const float* inv_freq) {
  check(x, rows, heads, head_dim, positions, inv_freq);
  if (rows == 0) return;
  static const RopeFn run = active_variant();
  const RopeArgs args{x, heads, head_dim / 2, positions, inv_freq};
  parallel_for(rows, std::max<std::int64_t>(1, kValuesPerPart / (heads * head_dim)),
               [&](std::int64_t begin, std::int64_t end) { run(args, begin, end); });
}

void rope(Stream& stream, float* x, std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
          const std::int32_t* positions, const float* inv_freq) {
  if (!stream.is_cuda()) return rope(x, rows, heads, head_dim, positions, inv_freq);
  static const CudaKernel<RopeCudaArgs> kernel("aquatint_cuda_rope");
  check(x, rows, heads, head_dim, positions, inv_freq);
  kernel(stream, {x, rows, heads, head_dim / 2, positions, inv_freq});
}

std::vector<float> rope_inverse_frequencies(std::int64_t head_dim, double theta) {
  if (head_dim < 2 || head_dim % 2 != 0 || !(theta > 0) || !std::isfinite(theta)) {
    raise(ErrorKind::kInvalidArgument, "rotary embedding: head of {} values, theta {}", head_dim,
          theta);
  }
  std::vector<float> frequencies(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
    frequencies[i] = static_cast<float>(std::pow(theta, exponent));
  }
  return frequencies;
}

}  // namespace aquatint::kernels
