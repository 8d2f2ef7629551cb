#include "kernels/round_bf16/round_bf16.h"

#include <atomic>

#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/round_bf16/cuda_args.h"

namespace aquatint::kernels {

const std::vector<RoundBf16Variant>& round_bf16_variants() {
  static const std::vector<RoundBf16Variant> variants = {
    {Isa::kReference, round_bf16_reference},
#if defined(__x86_64__)
    {Isa::kAvx2, round_bf16_avx2},
#endif
  };
  return variants;
}

bool round_bf16(const float* x, std::int64_t n, std::uint16_t* y) {
  static const RoundBf16Fn run = [] {
    RoundBf16Fn best = round_bf16_reference;
    for (const RoundBf16Variant& variant : round_bf16_variants()) {
      if (variant.isa <= active_isa()) best = variant.run;
    }
    return best;
  }();
  constexpr std::int64_t kGrain = 1 << 15;
  std::atomic<bool> finite{true};
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    if (!run(x + begin, end - begin, y + begin)) finite = false;
  });
  return finite;
}

bool round_bf16(Stream& stream, const float* x, std::int64_t n, std::uint16_t* y, int tag) {
  if (!stream.is_cuda()) return round_bf16(x, n, y);
  static const CudaKernel<RoundBf16CudaArgs> kernel("aquatint_cuda_round_bf16");
  kernel(stream, {x, y, n}, tag);
  return true;
}

}  // namespace aquatint::kernels
