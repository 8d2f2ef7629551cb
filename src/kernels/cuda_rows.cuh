// What kernels that make whole rows of activations share: a block holds one row in shared memory,
// whatever made it, and writes it in one of the forms of RowSink. The int8 form has the formula,
// and for the same float values the bits, of quantize_rows_int8.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

#include "device/cuda_launch.h"
#include "kernels/row_sink.h"

namespace aquatint::kernels::cuda {

// Rows whose largest magnitude is below this quantize to zero: 127 / absmax stays finite.
constexpr float kSmallestRowAbsmax = 1e-30f;
constexpr int kWarp = 32;

struct Fault {
  int* word = nullptr;
  int tag = 0;
};

inline Fault fault_of(const CudaLaunch& launch) {
  return {launch.fault, launch.tag};
}

__device__ inline void report(const Fault& fault) {
  if (fault.tag > 0) atomicCAS(fault.word, 0, fault.tag);
}

__device__ inline bool is_finite(float x) {
  return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u;
}

// Round to nearest even; NaN stays NaN.
__device__ inline uint16_t to_bf16(float x) {
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Sum, or maximum, over a block, in a fixed order; every thread gets it. `scratch` holds 32 floats.
template <typename Combine>
__device__ float block_reduce(float value, float* scratch, Combine combine) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value = combine(value, __shfl_xor_sync(~0u, value, offset));
  }
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  __syncthreads();  // the scratch of an earlier reduction is read
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = scratch[0];
  for (int w = 1; w < warps; ++w) value = combine(value, scratch[w]);
  return value;
}

__device__ inline float block_sum(float value, float* scratch) {
  return block_reduce(value, scratch, [](float a, float b) { return a + b; });
}

__device__ inline float block_max(float value, float* scratch) {
  return block_reduce(value, scratch, [](float a, float b) { return fmaxf(a, b); });
}

// The int8 form of the row in shared memory.
__device__ inline void write_int8(const RowSink& sink, const Fault& fault, int64_t row,
                                  int64_t columns, const float* values, float* scratch) {
  float absmax = 0;
  float bad = 0;
  for (int64_t k = threadIdx.x; k < columns; k += blockDim.x) {
    absmax = fmaxf(absmax, fabsf(values[k]));
    if (!is_finite(values[k])) bad = 1;
  }
  absmax = block_max(absmax, scratch);
  bad = block_max(bad, scratch);
  const bool zero = bad != 0 || absmax < kSmallestRowAbsmax;
  const float inverse = zero ? 0.0f : __fdiv_rn(127.0f, absmax);
  if (threadIdx.x == 0) {
    sink.scales[row] = zero ? 0.0f : __fdiv_rn(absmax, 127.0f);
    if (bad != 0) report(fault);
  }
  // A warp takes whole groups, so that their sums stay inside it; groups are multiples of 4.
  const int lane = threadIdx.x % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  int8_t* out = sink.int8 + row * sink.group_size * sink.groups;
  const auto quantize = [&](int64_t k) {
    const float q = k < columns && !zero ? rintf(values[k] * inverse) : 0.0f;
    return static_cast<int>(fminf(fmaxf(q, -127.0f), 127.0f));
  };
  const bool shared_group = sink.groups == 1;  // all warps work on the one group
  for (int64_t g = shared_group ? 0 : threadIdx.x / kWarp; g < sink.groups; g += warps) {
    int sum = 0;
    const int64_t first = shared_group ? threadIdx.x : lane;
    const int64_t step = shared_group ? blockDim.x : kWarp;
    for (int64_t j = first * 4; j < sink.group_size; j += step * 4) {
      const int64_t k = g * sink.group_size + j;
      const char4 four = make_char4(
          static_cast<signed char>(quantize(k)), static_cast<signed char>(quantize(k + 1)),
          static_cast<signed char>(quantize(k + 2)), static_cast<signed char>(quantize(k + 3)));
      sum += four.x + four.y + four.z + four.w;
      *reinterpret_cast<char4*>(out + k) = four;
    }
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      sum += __shfl_xor_sync(~0u, sum, offset);
    }
    if (!shared_group) {
      if (lane == 0) sink.group_sums[row * sink.groups + g] = sum;
      continue;
    }
    // Sums of whole numbers this small are exact in float32: 127 * 65536 < 2^24.
    const float total = block_sum(lane == 0 ? static_cast<float>(sum) : 0.0f, scratch);
    if (threadIdx.x == 0) sink.group_sums[row] = static_cast<int>(total);
    break;
  }
}

// Writes the row that the block has in `values` (shared memory, written and synchronized).
__device__ inline void write_row(const RowSink& sink, const Fault& fault, int64_t row,
                                 int64_t columns, const float* values, float* scratch) {
  if (sink.int8 != nullptr) {
    write_int8(sink, fault, row, columns, values, scratch);
    return;
  }
  for (int64_t k = threadIdx.x; k < columns; k += blockDim.x) {
    const float value = values[k];
    if (sink.f32 != nullptr) {
      sink.f32[row * columns + k] = value;
      continue;
    }
    const uint16_t rounded = to_bf16(value);
    if ((rounded & 0x7f80u) == 0x7f80u) report(fault);
    sink.bf16[row * columns + k] = rounded;
  }
}

// Threads for a block that makes one row: many when there are few rows, which then must be quick.
inline int row_threads(int64_t rows, int64_t columns, int multiprocessors) {
  const int64_t most = rows < 4 * multiprocessors ? 1024 : 256;
  int64_t threads = kWarp;
  while (threads < most && threads * 4 < columns) threads *= 2;
  return static_cast<int>(threads);
}

// Shared memory of such a block: the row, and 32 floats for reductions.
inline size_t row_shared_bytes(int64_t columns) {
  return (static_cast<size_t>(columns) + kWarp) * sizeof(float);
}

// Lets `kernel` use that much; the error, if the device has less.
template <typename Kernel>
cudaError_t allow_shared(Kernel kernel, size_t bytes) {
  constexpr size_t kAlways = 48 * 1024;
  if (bytes <= kAlways) return cudaSuccess;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(bytes));
}

}  // namespace aquatint::kernels::cuda
