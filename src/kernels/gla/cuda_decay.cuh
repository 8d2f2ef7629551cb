// Internal to kernels/gla: the log decay of a gate.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

namespace aquatint::kernels {
namespace {

// min(r, 0) - log1p(exp(-|r|)), over the normalizer, at least `lowest`. A comparison, not fmaxf, so
// that NaN stays NaN.
__device__ inline float log_decay_of(float r, float normalizer, float lowest) {
  const float decay = (fminf(r, 0.0F) - log1pf(expf(-fabsf(r)))) / normalizer;
  return decay < lowest ? lowest : decay;
}

}  // namespace
}  // namespace aquatint::kernels
