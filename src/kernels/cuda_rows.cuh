// What kernels that make whole rows of activations share: a block holds one row in shared memory,
// whatever made it, and writes it in one of the forms of RowSink. The int8 form has the formula,
// and for the same float values the bits, of quantize_rows_int8. V is how many values a thread
// moves at a time: 4 where rows are multiples of 4 and aligned, else 1.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

#include "device/cuda_launch.h"
#include "kernels/cuda_host.cuh"
#include "kernels/row_sink.h"

namespace aquatint::kernels::cuda {

// Rows whose largest magnitude is below this quantize to zero: 127 / absmax stays finite.
constexpr float kSmallestRowAbsmax = 1e-30f;
constexpr unsigned kInfinityBits = 0x7f800000u;
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

template <int V>
struct Values {
  float v[V];
};

__device__ inline Values<4> load_four(const float* p) {
  const float4 four = *reinterpret_cast<const float4*>(p);
  return {{four.x, four.y, four.z, four.w}};
}

template <int V>
__device__ Values<V> load(const float* p) {
  if constexpr (V == 4) {
    return load_four(p);
  } else {
    return {{*p}};
  }
}

template <int V>
__device__ void store(float* p, const Values<V>& values) {
  if constexpr (V == 4) {
    *reinterpret_cast<float4*>(p) = make_float4(values.v[0], values.v[1], values.v[2], values.v[3]);
  } else {
    *p = values.v[0];
  }
}

// Round to nearest even; NaN stays NaN.
__device__ inline uint16_t to_bf16(float x) {
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > kInfinityBits) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Stores as bfloat16, aligned as the values are; reports what is not finite then.
template <int V>
__device__ void store_bf16(uint16_t* p, const Values<V>& values, const Fault& fault) {
  uint16_t rounded[V];
  bool finite = true;
  for (int i = 0; i < V; ++i) {
    rounded[i] = to_bf16(values.v[i]);
    finite = finite && (rounded[i] & 0x7f80u) != 0x7f80u;
  }
  if (!finite) report(fault);
  if constexpr (V == 4) {
    *reinterpret_cast<ushort4*>(p) = make_ushort4(rounded[0], rounded[1], rounded[2], rounded[3]);
  } else {
    *p = rounded[0];
  }
}

// Sum, or maximum, over a block, in a fixed order; every thread gets it. `scratch` holds 32 values.
template <typename T, typename Combine>
__device__ T block_reduce(T value, T* scratch, Combine combine) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value = combine(value, __shfl_xor_sync(~0u, value, offset));
  }
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (warps == 1) return value;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  __syncthreads();  // the scratch of an earlier reduction is read
  if (lane == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = scratch[lane < warps ? lane : 0];  // the first again is one too many for a sum
  if (lane >= warps) value = T{};
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value = combine(value, __shfl_xor_sync(~0u, value, offset));
  }
  return value;
}

__device__ inline float block_sum(float value, float* scratch) {
  return block_reduce(value, scratch, [](float a, float b) { return a + b; });
}

// The int8 form of the row in shared memory.
__device__ inline void write_int8(const RowSink& sink, const Fault& fault, int64_t row,
                                  int64_t columns, const float* values, float* scratch) {
  // Magnitudes order like their bits; those of NaN and infinity are the largest.
  unsigned most = 0;
  const auto include = [&](float value) { most = max(most, __float_as_uint(value) & 0x7fffffffu); };
  const int64_t whole = columns / 4 * 4;
  for (int64_t k = int64_t{threadIdx.x} * 4; k < whole; k += int64_t{blockDim.x} * 4) {
    const auto four = load_four(values + k);
    for (const float value : four.v) include(value);
  }
  if (whole + threadIdx.x < columns) include(values[whole + threadIdx.x]);
  most = block_reduce(most, reinterpret_cast<unsigned*>(scratch),
                      [](unsigned a, unsigned b) { return max(a, b); });
  const float absmax = __uint_as_float(most);
  const bool bad = most >= kInfinityBits;
  const bool zero = bad || absmax < kSmallestRowAbsmax;
  const float inverse = zero ? 0.0f : __fdiv_rn(127.0f, absmax);
  if (threadIdx.x == 0) {
    sink.scales[row] = zero ? 0.0f : __fdiv_rn(absmax, 127.0f);
    if (bad) report(fault);
  }
  // A warp takes whole groups, so that their sums stay inside it; groups are multiples of 4. The
  // one group of a row without groups all warps share.
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  int8_t* out = sink.int8 + row * sink.group_size * sink.groups;
  // Adding 1.5 * 2^23 rounds to the nearest even integer, which the low bits then hold; no
  // magnitude passes 127, as absmax * inverse is below 127.5. Four values make a word.
  const auto quantize = [&](float value) {
    constexpr float kRounds = 12582912.0f;
    return __float_as_uint(__fadd_rn(zero ? 0.0f : __fmul_rn(value, inverse), kRounds));
  };
  const auto quantize_four = [&](int64_t k) {
    Values<4> four = {};
    if (k + 4 <= columns) {
      four = load_four(values + k);
    } else {
      for (int i = 0; i < 4; ++i) four.v[i] = k + i < columns ? values[k + i] : 0.0f;
    }
    const unsigned low = __byte_perm(quantize(four.v[0]), quantize(four.v[1]), 0x0040);
    const unsigned high = __byte_perm(quantize(four.v[2]), quantize(four.v[3]), 0x0040);
    return __byte_perm(low, high, 0x5410);
  };
  const auto quantize_group = [&](int64_t g, int64_t first, int64_t step) {
    int sum = 0;
    for (int64_t j = first * 4; j < sink.group_size; j += step * 4) {
      const int64_t k = g * sink.group_size + j;
      const unsigned q = quantize_four(k);
      sum = __dp4a(static_cast<int>(q), 0x01010101, sum);
      *reinterpret_cast<unsigned*>(out + k) = q;
    }
    return sum;
  };
  const auto plus = [](int a, int b) { return a + b; };
  if (sink.groups == 1) {
    const int sum = block_reduce(quantize_group(0, threadIdx.x, blockDim.x),
                                 reinterpret_cast<int*>(scratch), plus);
    if (threadIdx.x == 0) sink.group_sums[row] = sum;
    return;
  }
  for (int64_t g = threadIdx.x / kWarp; g < sink.groups; g += warps) {
    int sum = quantize_group(g, lane, kWarp);
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      sum += __shfl_xor_sync(~0u, sum, offset);
    }
    if (lane == 0) sink.group_sums[row * sink.groups + g] = sum;
  }
}

// Writes the row that the block has in `values` (shared memory, written and synchronized).
template <int V>
__device__ void write_row(const RowSink& sink, const Fault& fault, int64_t row, int64_t columns,
                          const float* values, float* scratch) {
  if (sink.int8 != nullptr) {
    write_int8(sink, fault, row, columns, values, scratch);
    if (sink.bf16 == nullptr) return;
  }
  for (int64_t k = int64_t{threadIdx.x} * V; k < columns; k += int64_t{blockDim.x} * V) {
    const Values<V> some = load<V>(values + k);
    if (sink.f32 != nullptr) {
      store<V>(sink.f32 + row * columns + k, some);
    } else {
      store_bf16<V>(sink.bf16 + row * columns + k, some, fault);
    }
  }
}

// Threads for a block that makes one row: many when there are few rows, which then must be quick.
inline int row_threads(int64_t rows, int64_t columns, int multiprocessors) {
  const int64_t most = rows < 4 * multiprocessors ? 1024 : 256;
  int64_t threads = kWarp;
  while (threads < most && threads * 4 < columns) threads *= 2;
  return static_cast<int>(threads);
}

// Shared memory of such a block: 32 values for reductions, and the row.
inline size_t row_shared_bytes(int64_t columns) {
  return (static_cast<size_t>(columns) + kWarp) * sizeof(float);
}

}  // namespace aquatint::kernels::cuda
