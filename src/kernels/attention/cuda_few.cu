// Attention of few query rows on a GPU, as in decoding: a block takes a part of the keys for all
// rows of a kv head, so that keys and values are read once, and another kernel merges the parts.
// Heads of any size go this way.
#include "kernels/attention/cuda_common.cuh"
#include "kernels/cuda_rows.cuh"

namespace aquatint::kernels {
namespace {

using namespace cuda_attention;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kSlab = 256;      // keys whose scores are in shared memory at a time
constexpr int kKeysAtOnce = 4;  // of a warp, so that several loads are under way

// The block's threads as `groups` of `width`: a thread sums one column of the values at a time over
// every groups-th key.
struct Columns {
  int width, groups;
  __host__ __device__ explicit Columns(int64_t head_dim)
      : width(head_dim < kThreads ? (static_cast<int>(head_dim) + kWarp - 1) / kWarp * kWarp
                                  : kThreads),
        groups(kThreads / width) {}
};

// Shared memory: queries [kRows, dim4], weights [kRows, kSlab], sums [groups, kRows, head_dim],
// statistics [3, kRows]. dim4 is head_dim up to a multiple of 4, with zeros.
int64_t dim4_of(int64_t head_dim) {
  return (head_dim + 3) / 4 * 4;
}

size_t shared_bytes(int64_t head_dim, int rows) {
  const int64_t sums = Columns(head_dim).groups * head_dim;
  return static_cast<size_t>((dim4_of(head_dim) + kSlab + sums + 3) * rows) * sizeof(float);
}

// The products of kKeysAtOnce keys from `key` on with all queries, in every lane of a warp. Keys
// from `end` on repeat the last one.
template <int kRows>
__device__ void dot_keys(const float* keys, int64_t stride, int key, int end, int head_dim,
                         int dim4, bool fours, const float* q, float (&dots)[kKeysAtOnce][kRows]) {
  const int lane = threadIdx.x % kWarp;
  const float* rows[kKeysAtOnce];
#pragma unroll
  for (int n = 0; n < kKeysAtOnce; ++n) {
    rows[n] = keys + (key + n < end ? key + n : end - 1) * stride;
#pragma unroll
    for (int r = 0; r < kRows; ++r) dots[n][r] = 0;
  }
  if (fours) {
    for (int d = lane * 4; d < head_dim; d += kWarp * 4) {
      float4 k[kKeysAtOnce];
#pragma unroll
      for (int n = 0; n < kKeysAtOnce; ++n) k[n] = *reinterpret_cast<const float4*>(rows[n] + d);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const float4 x = *reinterpret_cast<const float4*>(q + r * dim4 + d);
#pragma unroll
        for (int n = 0; n < kKeysAtOnce; ++n) {
          dots[n][r] += x.x * k[n].x + x.y * k[n].y + (x.z * k[n].z + x.w * k[n].w);
        }
      }
    }
  } else {
    for (int d = lane; d < head_dim; d += kWarp) {
#pragma unroll
      for (int n = 0; n < kKeysAtOnce; ++n) {
        const float k = rows[n][d];
#pragma unroll
        for (int r = 0; r < kRows; ++r) dots[n][r] += q[r * dim4 + d] * k;
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kKeysAtOnce; ++n) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        dots[n][r] += __shfl_xor_sync(~0u, dots[n][r], offset);
      }
    }
  }
}

// A row's scores become weights, 0 for keys outside [from, to); its statistics follow. For a warp.
__device__ void weigh(float* scores, int keys, int64_t from, int64_t to, float* largest, float* sum,
                      float* factor) {
  const int lane = threadIdx.x % kWarp;
  const float before = *largest;
  float most = before;
  for (int k = lane; k < keys; k += kWarp) {
    if (k >= from && k < to) most = fmaxf(most, scores[k]);
  }
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    most = fmaxf(most, __shfl_xor_sync(~0u, most, offset));
  }
  float total = 0;
  for (int k = lane; k < keys; k += kWarp) {
    const float weight = k >= from && k < to ? expf(scores[k] - most) : 0.0f;
    scores[k] = weight;
    total += weight;
  }
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    total += __shfl_xor_sync(~0u, total, offset);
  }
  __syncwarp();
  if (lane != 0) return;
  *factor = expf(before - most);
  *sum = *sum * *factor + total;
  *largest = most;
}

// sums = sums * factor + weights * values, for the columns and keys of this thread.
template <int kRows>
__device__ void add_values(const Columns& columns, const float* values, int64_t stride, int keys,
                           int head_dim, const float* weights, const float* factors, float* sums) {
  const int group = static_cast<int>(threadIdx.x) / columns.width;
  if (group >= columns.groups) return;
  for (int d = threadIdx.x % columns.width; d < head_dim; d += columns.width) {
    float sum[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) sum[r] = 0;
#pragma unroll 4
    for (int k = group; k < keys; k += columns.groups) {
      const float value = values[k * stride + d];
#pragma unroll
      for (int r = 0; r < kRows; ++r) sum[r] += weights[r * kSlab + k] * value;
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float* at = sums + (group * kRows + r) * head_dim + d;
      *at = *at * factors[r] + sum[r];
    }
  }
}

// The result of a part: the output if it is the only one, else a record to be merged.
template <int kRows>
__device__ void finish(const AttentionCudaArgs& a, const AttentionCudaSequence& s, int64_t kv_head,
                       int64_t row0, int64_t part, const float* sums, const float* largest,
                       const float* totals) {
  const Rows rows(a, s);
  const int dim = static_cast<int>(a.head_dim);
  const int groups = Columns(dim).groups;
  for (int i = threadIdx.x; i < kRows * dim; i += kThreads) {
    const int r = i / dim, d = i % dim;
    const int64_t row = row0 + r;
    if (row >= rows.count) break;
    float total = sums[i];
    for (int g = 1; g < groups; ++g) total += sums[g * kRows * dim + i];
    if (s.parts == 1) {
      a.o[rows.offset(a, s, kv_head, row) + d] = total / totals[r];
      continue;
    }
    const int64_t record = s.partial + (part * a.kv_heads + kv_head) * rows.count + row;
    a.part_weighted[record * dim + d] = total;
    if (d == 0) {
      a.part_stats[record * 2] = largest[r];
      a.part_stats[record * 2 + 1] = totals[r];
    }
  }
}

template <int kRows>
__global__ void __launch_bounds__(kThreads)
    few_rows(const __grid_constant__ AttentionCudaArgs a, bool fours) {
  extern __shared__ __align__(16) float shared[];
  const AttentionCudaSequence& s = a.sequences[blockIdx.z];
  const Rows rows(a, s);
  const int64_t kv_head = blockIdx.x % a.kv_heads;
  const int64_t row0 = blockIdx.x / a.kv_heads * kRows;
  const int64_t part = blockIdx.y;
  if (part >= s.parts || row0 >= rows.count) return;

  const int dim = static_cast<int>(a.head_dim), dim4 = (dim + 3) / 4 * 4;
  const Columns columns(dim);
  float* q = shared;
  float* weights = q + kRows * dim4;
  float* sums = weights + kRows * kSlab;
  float* largest = sums + columns.groups * kRows * dim;
  float* totals = largest + kRows;
  float* factors = totals + kRows;
  for (int i = threadIdx.x; i < kRows * dim4; i += kThreads) {
    const int64_t row = row0 + i / dim4;
    const int d = i % dim4;
    q[i] = row < rows.count && d < dim ? a.q[rows.offset(a, s, kv_head, row) + d] : 0.0f;
  }
  for (int i = threadIdx.x; i < columns.groups * kRows * dim; i += kThreads) sums[i] = 0;
  if (threadIdx.x < kRows) {
    // Finite, so that rows that see nothing yet have no infinity less infinity.
    largest[threadIdx.x] = -FLT_MAX;
    totals[threadIdx.x] = 0;
  }

  // The keys of this part that any of the rows sees.
  const int64_t last_row = (row0 + kRows < rows.count ? row0 + kRows : rows.count) - 1;
  int64_t begin = first_seen(s.past, a.window) + part * kCudaKeysPerPart;
  int64_t end = part + 1 == s.parts ? s.past + s.tokens : begin + kCudaKeysPerPart;
  const int64_t seen_from = first_seen(rows.position(s, row0), a.window);
  const int64_t seen_to = rows.position(s, last_row) + 1;
  if (begin < seen_from) begin = seen_from;
  if (end > seen_to) end = seen_to;

  const int64_t stride = a.kv_heads * dim;
  const float* keys = s.keys + kv_head * dim;
  const float* values = s.values + kv_head * dim;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int64_t slab = begin; slab < end; slab += kSlab) {
    __syncthreads();  // the queries are there; the weights of the last slab are used
    const int n = static_cast<int>(end - slab < kSlab ? end - slab : kSlab);
    for (int k = warp * kKeysAtOnce; k < n; k += kWarps * kKeysAtOnce) {
      float dots[kKeysAtOnce][kRows];
      dot_keys<kRows>(keys + slab * stride, stride, k, n, dim, dim4, fours, q, dots);
      if (lane != 0) continue;
#pragma unroll
      for (int j = 0; j < kKeysAtOnce; ++j) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          // Inside the row: kSlab is a multiple of kKeysAtOnce.
          weights[r * kSlab + k + j] = dots[j][r] * a.scale;
        }
      }
    }
    __syncthreads();
    if (warp < kRows) {
      const int64_t position = rows.position(s, row0 + warp);
      weigh(weights + warp * kSlab, n, first_seen(position, a.window) - slab, position + 1 - slab,
            largest + warp, totals + warp, factors + warp);
    }
    __syncthreads();
    add_values<kRows>(columns, values + slab * stride, stride, n, dim, weights, factors, sums);
  }
  __syncthreads();
  finish<kRows>(a, s, kv_head, row0, part, sums, largest, totals);
}

// One block per query row of every sequence that has several parts.
__global__ void __launch_bounds__(kThreads) merge(const __grid_constant__ AttentionCudaArgs a) {
  const AttentionCudaSequence& s = a.sequences[blockIdx.y];
  const Rows rows(a, s);
  const int64_t kv_head = blockIdx.x % a.kv_heads, row = blockIdx.x / a.kv_heads;
  if (s.parts == 1 || row >= rows.count) return;
  const int64_t first = s.partial + kv_head * rows.count + row;
  const int64_t distance = a.kv_heads * rows.count;
  float largest = -FLT_MAX;
  for (int64_t part = 0; part < s.parts; ++part) {
    largest = fmaxf(largest, a.part_stats[(first + part * distance) * 2]);
  }
  float sum = 0;
  for (int64_t part = 0; part < s.parts; ++part) {
    const float* stats = a.part_stats + (first + part * distance) * 2;
    sum += expf(stats[0] - largest) * stats[1];
  }
  float* o = a.o + rows.offset(a, s, kv_head, row);
  for (int64_t d = threadIdx.x; d < a.head_dim; d += kThreads) {
    float total = 0;
    for (int64_t part = 0; part < s.parts; ++part) {
      const int64_t record = first + part * distance;
      total += expf(a.part_stats[record * 2] - largest) * a.part_weighted[record * a.head_dim + d];
    }
    o[d] = total / sum;
  }
}

template <int kRows>
cudaError_t run(const AttentionCudaArgs& a, int64_t most_rows, int64_t most_parts,
                cudaStream_t stream) {
  const size_t shared = shared_bytes(a.head_dim, kRows);
  const cudaError_t error = cuda::allow_shared(few_rows<kRows>, shared);
  if (error != cudaSuccess) return error;
  const dim3 grid(static_cast<unsigned>((most_rows + kRows - 1) / kRows * a.kv_heads),
                  static_cast<unsigned>(most_parts), static_cast<unsigned>(a.count));
  few_rows<kRows><<<grid, kThreads, shared, stream>>>(a, by_fours(a));
  return cudaGetLastError();
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_attention_few(const aquatint::kernels::AttentionCudaArgs* args,
                                           const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  const auto stream = static_cast<cudaStream_t>(launch->stream);
  int64_t most_rows = 0, most_parts = 0;
  for (int64_t s = 0; s < args->count; ++s) {
    const int64_t rows = Rows(*args, args->sequences[s]).count;
    most_rows = rows > most_rows ? rows : most_rows;
    most_parts = args->sequences[s].parts > most_parts ? args->sequences[s].parts : most_parts;
  }
  if (most_rows == 0) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  if (most_rows == 1) {
    error = run<1>(*args, most_rows, most_parts, stream);
  } else if (most_rows == 2) {
    error = run<2>(*args, most_rows, most_parts, stream);
  } else if (most_rows <= 4) {
    error = run<4>(*args, most_rows, most_parts, stream);
  } else {
    error = run<8>(*args, most_rows, most_parts, stream);
  }
  if (error != cudaSuccess || most_parts == 1) return error;
  const dim3 grid(static_cast<unsigned>(most_rows * args->kv_heads),
                  static_cast<unsigned>(args->count));
  merge<<<grid, kThreads, 0, stream>>>(*args);
  return cudaGetLastError();
}
