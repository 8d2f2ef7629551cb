#include "kernels/residual_add/residual_add.h"

#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/residual_add/cuda_args.h"

namespace aquatint::kernels {

void residual_add(Stream& stream, float* hidden, const float* delta, std::int64_t n) {
  if (stream.is_cuda()) {
    static const CudaKernel<ResidualAddCudaArgs> kernel("aquatint_cuda_residual_add");
    kernel(stream, {hidden, delta, n});
    return;
  }
  constexpr std::int64_t kGrain = 1 << 14;
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) hidden[i] += delta[i];
  });
}

}  // namespace aquatint::kernels
