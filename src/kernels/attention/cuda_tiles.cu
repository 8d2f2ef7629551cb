// Attention of many query rows on a GPU, as in prefill: a block takes 64 rows of a kv head and
// walks the keys they see 64 at a time, with the scores of such a tile in registers and a running
// maximum and sum per row. All arithmetic is float32.
#include <limits.h>

#include "kernels/attention/cuda_common.cuh"
#include "kernels/cuda_rows.cuh"

namespace aquatint::kernels {
namespace {

using namespace cuda_attention;

constexpr int kRows = 64, kKeys = 64;  // of a tile
constexpr int kSide = 16;              // threads are kSide x kSide
constexpr int kThreads = kSide * kSide;
constexpr int kEach = kRows / kSide;  // rows of a thread: ty * kEach + i; its keys: tx + kSide * j
constexpr int kChunk = kSide * 4;     // columns the threads of a row cover at a time

// Rows of tiles in shared memory are apart by this many floats: 16-byte accesses to consecutive
// rows then fall into different banks.
__host__ __device__ constexpr int64_t padded(int64_t n) {
  return (n + 3) / 4 * 4 + 4;
}

size_t shared_bytes(int64_t head_dim) {
  return static_cast<size_t>(kRows * padded(head_dim) + kKeys * padded(head_dim) +
                             kRows * padded(kKeys)) *
         sizeof(float);
}

// Fills a tile [64, head_dim] from rows that `source` finds; zeros past `count` rows and past
// head_dim.
template <typename Source>
__device__ void load_tile(float* tile, int64_t head_dim, int64_t count, bool fours, Source source) {
  const int width = static_cast<int>((head_dim + 3) / 4);
  for (int i = threadIdx.x; i < kRows * width; i += kThreads) {
    const int row = i / width, d = i % width * 4;
    float4 value = make_float4(0, 0, 0, 0);
    if (row < count) {
      const float* from = source(row);
      if (fours) {
        value = *reinterpret_cast<const float4*>(from + d);
      } else {
        value.x = from[d];
        if (d + 1 < head_dim) value.y = from[d + 1];
        if (d + 2 < head_dim) value.z = from[d + 2];
        if (d + 3 < head_dim) value.w = from[d + 3];
      }
    }
    *reinterpret_cast<float4*>(tile + row * padded(head_dim) + d) = value;
  }
}

__device__ const float4& four(const float* p) {
  return *reinterpret_cast<const float4*>(p);
}

// scores[i][j] = row i . key j.
__device__ void multiply_keys(const float* q, const float* k, int64_t head_dim, int tx, int ty,
                              float (&scores)[kEach][kEach]) {
  const int stride = static_cast<int>(padded(head_dim)), dim4 = stride - 4;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) scores[i][j] = 0;
  }
#pragma unroll 1
  for (int d = 0; d < dim4; d += 4) {
    float4 key[kEach];
#pragma unroll
    for (int j = 0; j < kEach; ++j) key[j] = four(k + (tx + kSide * j) * stride + d);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const float4 row = four(q + (ty * kEach + i) * stride + d);
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        scores[i][j] += row.x * key[j].x;
        scores[i][j] += row.y * key[j].y;
        scores[i][j] += row.z * key[j].z;
        scores[i][j] += row.w * key[j].w;
      }
    }
  }
}

// Over the threads of a row, which are half a warp.
template <typename Combine>
__device__ float across_row(float value, Combine combine) {
  for (int offset = kSide / 2; offset > 0; offset /= 2) {
    value = combine(value, __shfl_xor_sync(~0u, value, offset));
  }
  return value;
}

// sums[i] += weights of row i . values, in `kChunks` columns of four per thread.
template <int kChunks>
__device__ void add_values(const float* weights, const float* v, int64_t head_dim, int tx, int ty,
                           float4 (&sums)[kEach][kChunks]) {
  const int stride = static_cast<int>(padded(head_dim)), dim4 = stride - 4;
  constexpr int kStride = static_cast<int>(padded(kKeys));
#pragma unroll 1
  for (int k = 0; k < kKeys; k += 4) {
    float weight[kEach][4];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const float4 w = four(weights + (ty * kEach + i) * kStride + k);
      weight[i][0] = w.x;
      weight[i][1] = w.y;
      weight[i][2] = w.z;
      weight[i][3] = w.w;
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) {
#pragma unroll
      for (int c = 0; c < kChunks; ++c) {
        const int d = c * kChunk + tx * 4;
        const float4 value = d < dim4 ? four(v + (k + e) * stride + d) : make_float4(0, 0, 0, 0);
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
          sums[i][c].x += weight[i][e] * value.x;
          sums[i][c].y += weight[i][e] * value.y;
          sums[i][c].z += weight[i][e] * value.z;
          sums[i][c].w += weight[i][e] * value.w;
        }
      }
    }
  }
}

// The scores of a tile become weights in shared memory; what is summed so far follows the new
// maximum. Row i sees keys last[i] - window < key <= last[i].
template <int kChunks>
__device__ void weigh(float (&scores)[kEach][kEach], int key0, const int (&last)[kEach], int window,
                      float scale, float* weights, float (&largest)[kEach], float (&total)[kEach],
                      float4 (&sums)[kEach][kChunks]) {
  const int tx = threadIdx.x % kSide, ty = threadIdx.x / kSide;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    float most = largest[i];
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int key = key0 + tx + kSide * j;
      // Of rows past the tile's last, keys may be seen that are none: neither is written.
      const bool seen = key <= last[i] && last[i] - key < window;
      scores[i][j] = seen ? scores[i][j] * scale : -INFINITY;
      most = fmaxf(most, scores[i][j]);
    }
    most = across_row(most, [](float x, float y) { return fmaxf(x, y); });
    const float factor = expf(largest[i] - most);
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const float weight = expf(scores[i][j] - most);
      weights[(ty * kEach + i) * padded(kKeys) + tx + kSide * j] = weight;
      sum += weight;
    }
    total[i] = total[i] * factor + across_row(sum, [](float x, float y) { return x + y; });
    largest[i] = most;
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      sums[i][c] = make_float4(sums[i][c].x * factor, sums[i][c].y * factor, sums[i][c].z * factor,
                               sums[i][c].w * factor);
    }
  }
}

__device__ void store(float* o, float4 value, float factor, int64_t columns, bool fours) {
  value = make_float4(value.x * factor, value.y * factor, value.z * factor, value.w * factor);
  if (fours) {
    *reinterpret_cast<float4*>(o) = value;
    return;
  }
  o[0] = value.x;
  if (columns > 1) o[1] = value.y;
  if (columns > 2) o[2] = value.z;
  if (columns > 3) o[3] = value.w;
}

__host__ __device__ int64_t tiles_of(const AttentionCudaArgs& a, const AttentionCudaSequence& s) {
  return (Rows(a, s).count + kRows - 1) / kRows;
}

template <int kChunks>
__global__ void __launch_bounds__(kThreads)
    tiles(const __grid_constant__ AttentionCudaArgs a, bool fours) {
  extern __shared__ __align__(16) float shared[];
  const int64_t kv_head = blockIdx.x % a.kv_heads;
  int64_t tile = blockIdx.x / a.kv_heads;
  int index = 0;
  for (; tile >= tiles_of(a, a.sequences[index]); ++index) {
    tile -= tiles_of(a, a.sequences[index]);
  }
  const AttentionCudaSequence& s = a.sequences[index];
  const Rows rows(a, s);
  // Later rows see more keys and take longer; they begin first.
  const int64_t row0 = (tiles_of(a, s) - 1 - tile) * kRows;
  const int64_t count = rows.count - row0 < kRows ? rows.count - row0 : kRows;
  const int tx = threadIdx.x % kSide, ty = threadIdx.x / kSide;

  float* q = shared;
  float* kv = q + kRows * padded(a.head_dim);  // keys, then values, of a tile
  float* weights = kv + kKeys * padded(a.head_dim);
  load_tile(q, a.head_dim, count, fours,
            [&](int row) { return a.q + rows.offset(a, s, kv_head, row0 + row); });

  float largest[kEach], total[kEach];
  float4 sums[kEach][kChunks];
  const int64_t begin = first_seen(rows.position(s, row0), a.window);
  int last[kEach];  // the last key that a row sees, counted from `begin`
  const int window = a.window > 0 && a.window < INT_MAX ? static_cast<int>(a.window) : INT_MAX;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    largest[i] = -FLT_MAX;  // finite: rows that see nothing yet have no infinity less infinity
    total[i] = 0;
    last[i] = static_cast<int>(rows.position(s, row0 + ty * kEach + i) - begin);
#pragma unroll
    for (int c = 0; c < kChunks; ++c) sums[i][c] = make_float4(0, 0, 0, 0);
  }

  const int64_t stride = a.kv_heads * a.head_dim;
  const float* keys = s.keys + begin * stride + kv_head * a.head_dim;
  const float* values = s.values + begin * stride + kv_head * a.head_dim;
  const int end = static_cast<int>(rows.position(s, row0 + count - 1) + 1 - begin);
  for (int key0 = 0; key0 < end; key0 += kKeys, keys += kKeys * stride, values += kKeys * stride) {
    const int n = end - key0 < kKeys ? end - key0 : kKeys;
    __syncthreads();  // the last tile's values are used
    load_tile(kv, a.head_dim, n, fours, [&](int k) { return keys + k * stride; });
    __syncthreads();
    float scores[kEach][kEach];
    multiply_keys(q, kv, a.head_dim, tx, ty, scores);
    weigh(scores, key0, last, window, a.scale, weights, largest, total, sums);
    __syncthreads();  // the keys are used
    load_tile(kv, a.head_dim, n, fours, [&](int k) { return values + k * stride; });
    __syncthreads();
    add_values<kChunks>(weights, kv, a.head_dim, tx, ty, sums);
  }

#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int row = ty * kEach + i;
    if (row >= count) continue;
    float* o = a.o + rows.offset(a, s, kv_head, row0 + row);
    const float factor = __fdiv_rn(1.0f, total[i]);
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      const int64_t d = c * kChunk + tx * 4;
      if (d < a.head_dim) store(o + d, sums[i][c], factor, a.head_dim - d, fours);
    }
  }
}

template <int kChunks>
cudaError_t run(const AttentionCudaArgs& a, int64_t blocks, cudaStream_t stream) {
  const size_t shared = shared_bytes(a.head_dim);
  const cudaError_t error = cuda::allow_shared(tiles<kChunks>, shared);
  if (error != cudaSuccess) return error;
  tiles<kChunks><<<static_cast<unsigned>(blocks), kThreads, shared, stream>>>(a, by_fours(a));
  return cudaGetLastError();
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_attention_tiles(const aquatint::kernels::AttentionCudaArgs* args,
                                             const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  const auto stream = static_cast<cudaStream_t>(launch->stream);
  int64_t blocks = 0;
  for (int64_t s = 0; s < args->count; ++s) blocks += tiles_of(*args, args->sequences[s]);
  blocks *= args->kv_heads;
  if (blocks == 0) return cudaSuccess;
  if (args->head_dim <= kChunk) return run<1>(*args, blocks, stream);
  if (args->head_dim <= 2 * kChunk) return run<2>(*args, blocks, stream);
  if (args->head_dim <= 4 * kChunk) return run<4>(*args, blocks, stream);
  return cudaErrorInvalidValue;
}
