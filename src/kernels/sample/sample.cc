#include "kernels/sample/sample.h"

#include "base/error.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/sample/cuda_args.h"
#include "kernels/sample/sample_arithmetic.h"

namespace aquatint::kernels {

void sample(Stream& stream, float* logits, std::int64_t rows, std::int64_t ld, std::int64_t allowed,
            const SampleRow* how, const std::int32_t* seen, std::int32_t* tokens) {
  AQUATINT_ASSERT(rows >= 0 && allowed > 0 && allowed <= ld);
  AQUATINT_ASSERT(allowed <= sampling::kMostTokens);
  if (stream.is_cuda()) {
    static const CudaKernel<SampleCudaArgs> kernel("aquatint_cuda_sample");
    kernel(stream, {logits, rows, ld, allowed, how, seen, tokens});
    return;
  }
  parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      tokens[i] = detail::sample_row_reference(logits + i * ld, allowed, how[i], seen);
    }
  });
}

}  // namespace aquatint::kernels
