// Rows of activations that a block of threads makes for itself (row_source.h), while the first
// weights are under way. A thread holds up to kHeld fours of a row's columns in registers, so a
// row is read once; it goes to shared memory as the product wants it, whole. Sums over columns are
// those of 128 columns, in ascending order: the number of threads does not change a bit.
#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda_overlap.cuh"
#include "kernels/cuda_rows.cuh"
#include "kernels/quant_matmul/cuda_stream.cuh"

namespace aquatint::kernels {
namespace {

using Fours = float[kHeld][4];

// Column of the first of the thread's fours `j`.
__device__ __forceinline__ int column_of(int j) {
  return 4 * static_cast<int>(threadIdx.x + j * blockDim.x);
}

// Past level 1 of the caches, which are not coherent, and of no use to what is read once.
__device__ __forceinline__ void load_four_l2(const float* from, bool exists, float (&to)[4]) {
  const float4 four = exists ? __ldcg(reinterpret_cast<const float4*>(from)) : float4{};
  to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(~0u, x, offset);
  return x;
}

// 1 / rms of the `count` columns from `first`, of whose squares `parts` has the sums.
__device__ __forceinline__ float inverse_rms(const RowSource& s, const float* parts, int first,
                                             int count) {
  float sum = 0;
  const int end = (first + count + kPart - 1) / kPart;
#pragma unroll 4
  for (int part = first / kPart; part < end; ++part) sum += parts[part];
  const float mean = __fdiv_rn(sum, static_cast<float>(count));
  return __fdiv_rn(1.0f, __fsqrt_rn(mean + s.eps));
}

// Starts the copy of a norm's weights, which joins the first group of copies that is ended next.
__device__ __forceinline__ void fetch_norm_weights(const Work& work, uint8_t* shared) {
  const RowSource& s = work.a.source;
  if (s.weight == nullptr) return;
  uint8_t* to = shared + work.norm_at;
  const int bytes = static_cast<int>(s.norm_columns) * 4;
  const int step = 16 * static_cast<int>(blockDim.x);
  for (int i = 16 * static_cast<int>(threadIdx.x); i < bytes; i += step) {
    copy_async16(to + i, reinterpret_cast<const uint8_t*>(s.weight) + i, false);
  }
}

// weights: in shared memory, of the oldest group of copies.
__device__ __forceinline__ void normalize(const RowSource& s, int columns, const float* weights,
                                          float* parts, Fours& v) {
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const int warps = static_cast<int>(blockDim.x) / kLanes;
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    if ((warp + j * warps) * kPart >= columns) break;  // for all lanes
    float squares = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) squares = __fmaf_rn(v[j][i], v[j][i], squares);
    squares = warp_sum(squares);
    if (threadIdx.x % kLanes == 0) parts[warp + j * warps] = squares;
  }
  cuda::wait_copies<kStages - 2>();
  __syncthreads();
  const int count = static_cast<int>(s.norm_columns);
  float inverse = count >= columns ? inverse_rms(s, parts, 0, count) : 0.0f;
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    const int k = column_of(j);
    if (k >= columns) break;
    const int first = count >= columns ? 0 : k / count * count;
    if (count < columns) inverse = inverse_rms(s, parts, first, count);
    float4 w = {1, 1, 1, 1};
    if (s.weight != nullptr) w = *reinterpret_cast<const float4*>(weights + (k - first));
    v[j][0] = v[j][0] * inverse * w.x;
    v[j][1] = v[j][1] * inverse * w.y;
    v[j][2] = v[j][2] * inverse * w.z;
    v[j][3] = v[j][3] * inverse * w.w;
  }
  __syncthreads();  // the parts of the next row may come
}

// The thread's values of a row, 0 past its columns.
__device__ __forceinline__ void make_row(const Work& work, int64_t row, uint8_t* shared,
                                         Fours& v) {
  const RowSource& s = work.a.source;
  const int columns = work.x_columns;
  Fours gate = {};
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    const int k = column_of(j);
    load_four_l2(s.x + row * s.ldx + k, k < columns, v[j]);
    if (s.gate != nullptr) load_four_l2(s.gate + row * s.ld_gate + k, k < columns, gate[j]);
  }
  if (s.norm_columns > 0) {
    normalize(s, columns, reinterpret_cast<const float*>(shared + work.norm_at),
              reinterpret_cast<MadeRows*>(shared)->parts, v);
  }
  if (s.gate == nullptr) return;
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) v[j][i] *= gate[j][i] / (1.0f + expf(-gate[j][i]));
  }
}

// Two values as bfloat16, and whether both are finite.
__device__ __forceinline__ uint32_t round_pair(float low, float high, bool& finite) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  const uint32_t bits = *reinterpret_cast<const uint32_t*>(&pair);
  finite = finite && (bits & 0x7f80u) != 0x7f80u && (bits & 0x7f800000u) != 0x7f800000u;
  return bits;
}

// As bfloat16; part_sums become the sums of kPart columns each, as rounded.
__device__ __forceinline__ void write_bf16_row(const Work& work, const Fours& v, float* part_sums,
                                               uint8_t* row) {
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const int warps = static_cast<int>(blockDim.x) / kLanes;
  bool finite = true;
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    if ((warp + j * warps) * kPart >= work.x_padded) break;  // for all lanes
    const int k = column_of(j);
    const uint32_t low = round_pair(v[j][0], v[j][1], finite);
    const uint32_t high = round_pair(v[j][2], v[j][3], finite);
    if (k < work.x_padded) *reinterpret_cast<uint2*>(row + k * 2) = make_uint2(low, high);
    const float sum = warp_sum((__uint_as_float(low << 16) + __uint_as_float(low & 0xffff0000u)) +
                               (__uint_as_float(high << 16) + __uint_as_float(high & 0xffff0000u)));
    if (threadIdx.x % kLanes == 0) part_sums[warp + j * warps] = sum;
  }
  if (!finite) cuda::report(work.fault);
}

// The same as int8 with the formula of quantize_rows_int8; the row's scale and sum go to `made`.
__device__ __forceinline__ void write_int8_row(const Work& work, const Fours& v, int m,
                                               MadeRows& made, uint8_t* row) {
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const int warps = static_cast<int>(blockDim.x) / kLanes;
  unsigned most = 0;  // magnitudes order like their bits
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) most = max(most, __float_as_uint(v[j][i]) & 0x7fffffffu);
  }
  most = __reduce_max_sync(~0u, most);
  if (threadIdx.x % kLanes == 0) made.parts[warp] = __uint_as_float(most);
  __syncthreads();
#pragma unroll 4
  for (int w = 0; w < warps; ++w) most = max(most, __float_as_uint(made.parts[w]));
  const float absmax = __uint_as_float(most);
  const bool bad = most >= cuda::kInfinityBits;
  const bool zero = bad || absmax < cuda::kSmallestRowAbsmax;
  const float inverse = zero ? 0.0f : __fdiv_rn(127.0f, absmax);
  int sum = 0;
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    const int k = column_of(j);
    if (k >= work.x_padded) break;
    char4 four;
    int q[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float scaled = zero ? 0.0f : rintf(v[j][i] * inverse);
      q[i] = static_cast<int>(fminf(fmaxf(scaled, -127.0f), 127.0f));
      sum += q[i];
    }
    four = make_char4(static_cast<signed char>(q[0]), static_cast<signed char>(q[1]),
                      static_cast<signed char>(q[2]), static_cast<signed char>(q[3]));
    *reinterpret_cast<char4*>(row + k) = four;
  }
  sum = __reduce_add_sync(~0u, sum);
  __syncthreads();  // all have read the largest values
  if (threadIdx.x % kLanes == 0) made.parts[warp] = __int_as_float(sum);
  __syncthreads();
  if (threadIdx.x == 0) {
    int total = 0;
    for (int w = 0; w < warps; ++w) total += __float_as_int(made.parts[w]);
    made.sums[m] = total;
    made.scales[m] = zero ? 0.0f : __fdiv_rn(absmax, 127.0f);
    if (bad) cuda::report(work.fault);
  }
  __syncthreads();  // the parts of the next row may come
}

// All rows, where LaneX finds them.
template <typename F>
__device__ __forceinline__ void make_rows(const Work& work, const Tile& tile, uint8_t* shared) {
  auto& made = *reinterpret_cast<MadeRows*>(shared);
  uint8_t* rows = shared + sizeof(MadeRows);
#pragma unroll 1
  for (int m = 0; m < tile.rows; ++m) {
    Fours v;
    make_row(work, m, shared, v);
    if constexpr (F::kXBytes == 2) {
      write_bf16_row(work, v, made.part_sums[m], rows + m * work.x_stride);
    } else {
      write_int8_row(work, v, m, made, rows + m * work.x_stride);
    }
  }
  __syncthreads();
}

// One output of the rider, a narrow dense product of the same rows rounded to bfloat16: a block of
// threads for each, which holds its weights in registers.
__device__ __forceinline__ void ride(const Work& work, int output, uint8_t* shared) {
  auto& made = *reinterpret_cast<MadeRows*>(shared);
  const QuantProductCuda& of = work.a.rider;
  const int columns = work.x_columns;
  const auto* w = reinterpret_cast<const uint16_t*>(of.w.data) + int64_t{output} * columns;
  fetch_norm_weights(work, shared);
  cuda::commit_copies();
  uint2 weights[kHeld];
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    const int k = column_of(j);
    weights[j] = k < columns ? __ldg(reinterpret_cast<const uint2*>(w + k)) : uint2{};
  }
  cuda::begin_work();
  cuda::wait_copies<0>();
  const int warps = static_cast<int>(blockDim.x) / kLanes;
#pragma unroll 1
  for (int m = 0; m < static_cast<int>(work.a.rows); ++m) {
    Fours v;
    make_row(work, m, shared, v);
    float dot = 0;
    bool finite = true;
    const auto multiply = [&](uint32_t pair, float low, float high) {
      const uint32_t x = round_pair(low, high, finite);
      dot = __fmaf_rn(__uint_as_float(pair << 16), __uint_as_float(x << 16), dot);
      dot = __fmaf_rn(__uint_as_float(pair & 0xffff0000u), __uint_as_float(x & 0xffff0000u), dot);
    };
#pragma unroll
    for (int j = 0; j < kHeld; ++j) {
      multiply(weights[j].x, v[j][0], v[j][1]);
      multiply(weights[j].y, v[j][2], v[j][3]);
    }
    if (!finite) cuda::report(work.fault);
    dot = warp_sum(dot);
    if (threadIdx.x % kLanes == 0) made.parts[threadIdx.x / kLanes] = dot;
    __syncthreads();
    if (threadIdx.x == 0) {
      float sum = 0;
      for (int i = 0; i < warps; ++i) sum += made.parts[i];
      if (of.bias != nullptr) sum += of.bias[output];
      of.y[m * of.ldy + output] = sum;
    }
    __syncthreads();  // the parts of the next row may come
  }
}

}  // namespace
}  // namespace aquatint::kernels
