// Token by token, in float32. For one token the step kernel of cuda_step.cuh; for more, a kernel
// that keeps the state in registers from the first token to the last. There a warp owns four
// columns of dv and all of dk, each lane some rows; tokens' decays, keys and queries come through
// shared memory, the next ones while these are used. The exponential of a gate is taken once per
// block.
#include "device/cuda_launch.h"
#include "kernels/gla/cuda_step.cuh"

namespace aquatint::kernels {
namespace {

constexpr int kLaneColumns = 4;  // of dv, of a warp and of each of its lanes
constexpr int kLaneRows = 4;     // beside each other: row 128 j + 4 lane + i
constexpr int kBatch = 4;        // tokens whose outputs are summed over the warp at once

// Shared memory: two stages of `tokens` rows of
//   decay [rows] | k [rows] | q [group, rows] | v [columns]      with rows = kSlots * 128
// in floats. Rows past dk stay zero; tokens past the end have decay 1 and zeros elsewhere, which
// changes nothing.
struct RecurrentPlan {
  int warps;
  int tokens;  // of a stage, a multiple of kBatch
  int aligned_keys, aligned_values;
};

__host__ __device__ constexpr int token_floats(int rows, int group, int columns) {
  return (2 + group) * rows + columns;
}

struct Stages {
  const GlaCudaArgs& args;
  const GlaCudaSequence& sequence;
  RecurrentPlan plan;
  int rows, head, group, first_column, columns;
  float* base;

  __device__ float* token(int stage, int t) const {
    return base + (stage * plan.tokens + t) * token_floats(rows, group, columns);
  }

  // Every thread meets the same pieces of a stage in fill and in take_exponentials.
  template <int kWidth, typename Use>
  __device__ void for_key_pieces(const Use& use) const {
    const int pieces = args.dk / kWidth;
    for (int i = static_cast<int>(threadIdx.x); i < plan.tokens * pieces;
         i += static_cast<int>(blockDim.x)) {
      const int t = i / pieces;
      use(t, (i - t * pieces) * kWidth);
    }
  }

  template <int kWidth>
  __device__ void fill_keys(int stage, int64_t first) const {
    for_key_pieces<kWidth>([&](int t, int d) {
      const bool valid = first + t < sequence.tokens;
      const int64_t row = sequence.first_row + (valid ? first + t : 0);
      const int64_t key = (row * args.kv_heads + head) * args.dk + d;
      const int64_t query = (row * args.heads + static_cast<int64_t>(head) * group) * args.dk + d;
      float* to = token(stage, t) + d;
      cuda::copy_async<4 * kWidth>(to, args.g + key, valid);
      cuda::copy_async<4 * kWidth>(to + rows, args.k + key, valid);
      for (int c = 0; c < group; ++c) {
        cuda::copy_async<4 * kWidth>(to + (2 + c) * rows, args.q + query + c * args.dk, valid);
      }
    });
  }

  template <int kWidth>
  __device__ void fill_values(int stage, int64_t first) const {
    const int pieces = columns / kWidth;
    for (int i = static_cast<int>(threadIdx.x); i < plan.tokens * pieces;
         i += static_cast<int>(blockDim.x)) {
      const int t = i / pieces, e = (i - t * pieces) * kWidth;
      const bool valid = first + t < sequence.tokens && first_column + e < args.dv;
      const int64_t row = sequence.first_row + (valid ? first + t : 0);
      const int64_t value = (row * args.kv_heads + head) * args.dv + first_column + e;
      cuda::copy_async<4 * kWidth>(token(stage, t) + (2 + group) * rows + e,
                                   args.v + (valid ? value : 0), valid);
    }
  }

  __device__ void fill(int stage, int64_t first) const {
    plan.aligned_keys != 0 ? fill_keys<4>(stage, first) : fill_keys<1>(stage, first);
    plan.aligned_values != 0 ? fill_values<4>(stage, first) : fill_values<1>(stage, first);
    cuda::commit_copies();
  }

  template <int kWidth>
  __device__ void exponentials_of_pieces(int stage) const {
    for_key_pieces<kWidth>([&](int t, int d) {
      float* g = token(stage, t) + d;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) g[i] = expf(g[i]);
    });
  }

  // Of the log decays that this thread copied itself.
  __device__ void take_exponentials(int stage) const {
    plan.aligned_keys != 0 ? exponentials_of_pieces<4>(stage) : exponentials_of_pieces<1>(stage);
  }
};

template <int kSlots>
using LaneState = float[kSlots][kLaneRows][kLaneColumns];

// S = decay S + k v^T for the lane's rows; with kRead also sum += q^T S.
template <int kSlots, bool kRead>
__device__ inline void update(LaneState<kSlots>& s, const float* token, const float* v, int lane,
                              float* sum) {
  constexpr int kRows = kSlots * 32 * kLaneRows;
  const float4 value = *reinterpret_cast<const float4*>(v);
#pragma unroll
  for (int j = 0; j < kSlots; ++j) {
    const float* at = token + j * 32 * kLaneRows + kLaneRows * lane;
    const float4 decay = *reinterpret_cast<const float4*>(at);
    const float4 k = *reinterpret_cast<const float4*>(at + kRows);
    float4 q{};
    if constexpr (kRead) q = *reinterpret_cast<const float4*>(at + 2 * kRows);
    const float decays[] = {decay.x, decay.y, decay.z, decay.w}, keys[] = {k.x, k.y, k.z, k.w};
    const float queries[] = {q.x, q.y, q.z, q.w};
    const float values[] = {value.x, value.y, value.z, value.w};
#pragma unroll
    for (int i = 0; i < kLaneRows; ++i) {
#pragma unroll
      for (int e = 0; e < kLaneColumns; ++e) {
        s[j][i][e] = fmaf(s[j][i][e], decays[i], keys[i] * values[e]);
        if constexpr (kRead) sum[e] = fmaf(queries[i], s[j][i][e], sum[e]);
      }
    }
  }
}

template <int kSlots>
__device__ inline void read(const LaneState<kSlots>& s, const float* q, int lane,
                            float (&sum)[kLaneColumns]) {
#pragma unroll
  for (int j = 0; j < kSlots; ++j) {
    const float4 x = *reinterpret_cast<const float4*>(q + j * 32 * kLaneRows + kLaneRows * lane);
    const float queries[] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < kLaneRows; ++i) {
#pragma unroll
      for (int e = 0; e < kLaneColumns; ++e) sum[e] = fmaf(queries[i], s[j][i][e], sum[e]);
    }
  }
}

// One stage's tokens, of which `valid` exist; o is at the first of them, at the warp's first column
// of the group's first query head. With one query head per kv head, kBatch tokens go together.
template <int kSlots, bool kOneHead>
__device__ inline void run_stage(const Stages& stages, LaneState<kSlots>& s, int stage, int valid,
                                 float* o, int columns_left) {
  constexpr int kRows = kSlots * 32 * kLaneRows;
  const GlaCudaArgs& args = stages.args;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int values = (2 + stages.group) * kRows + kLaneColumns * warp;
  const int64_t row = static_cast<int64_t>(args.heads) * args.dv;
  if constexpr (kOneHead) {
    for (int t = 0; t < valid; t += kBatch) {
      float sums[kBatch * kLaneColumns] = {};
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const float* token = stages.token(stage, t + b);
        update<kSlots, true>(s, token, token + values, lane, sums + b * kLaneColumns);
      }
      sum_over_warp(sums, lane);
      const int b = lane / 8, e = lane / 2 % kLaneColumns;
      if (lane % 2 == 0 && t + b < valid && e < columns_left) {
        o[(t + b) * row + e] = args.scale * sums[0];
      }
    }
  } else {
    for (int t = 0; t < valid; ++t) {
      const float* token = stages.token(stage, t);
      update<kSlots, false>(s, token, token + values, lane, nullptr);
      for (int c = 0; c < stages.group; ++c) {
        float sum[kLaneColumns] = {};
        read<kSlots>(s, token + (2 + c) * kRows, lane, sum);
        sum_over_warp(sum, lane);
        const int e = lane / 8;
        if (lane % 8 == 0 && e < columns_left) {
          o[t * row + static_cast<int64_t>(c) * args.dv + e] = args.scale * sum[0];
        }
      }
    }
  }
}

template <int kSlots, typename Use>
__device__ inline void for_state(const GlaCudaArgs& args, float* state, int columns_left,
                                 const Use& use) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int j = 0; j < kSlots; ++j) {
#pragma unroll
    for (int i = 0; i < kLaneRows; ++i) {
      const int d = j * 32 * kLaneRows + kLaneRows * lane + i;
#pragma unroll
      for (int e = 0; e < kLaneColumns; ++e) {
        use(j, i, e, state + static_cast<int64_t>(d) * args.dv + e,
            d < args.dk && e < columns_left);
      }
    }
  }
}

template <int kSlots, bool kOneHead>
__global__ void __launch_bounds__(256, kSlots <= 2 ? 2 : 1)
    recurrent_kernel(const __grid_constant__ GlaCudaArgs args, const RecurrentPlan plan) {
  const GlaCudaSequence& sequence = args.sequences[blockIdx.z];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int columns = kLaneColumns * plan.warps;
  const Stages stages = {args,
                         sequence,
                         plan,
                         kSlots * 32 * kLaneRows,
                         static_cast<int>(blockIdx.y),
                         args.heads / args.kv_heads,
                         static_cast<int>(blockIdx.x) * columns,
                         columns,
                         reinterpret_cast<float*>(shared_memory())};
  const int floats = 2 * plan.tokens * token_floats(stages.rows, stages.group, columns);
  for (int i = static_cast<int>(threadIdx.x); i < floats; i += static_cast<int>(blockDim.x)) {
    stages.base[i] = 0.0F;
  }
  const int column = stages.first_column + kLaneColumns * warp;
  const int columns_left = args.dv - column;
  float* state = sequence.state + static_cast<int64_t>(stages.head) * args.dk * args.dv + column;
  LaneState<kSlots> s;
  for_state<kSlots>(args, state, columns_left, [&](int j, int i, int e, const float* at, bool ok) {
    s[j][i][e] = ok ? *at : 0.0F;
  });
  __syncthreads();
  stages.fill(0, 0);
  int stage = 0;
  for (int64_t first = 0; first < sequence.tokens; first += plan.tokens, stage ^= 1) {
    cuda::wait_copies<0>();
    stages.take_exponentials(stage);
    __syncthreads();  // this stage is complete, and nobody reads the other one any more
    if (first + plan.tokens < sequence.tokens) stages.fill(stage ^ 1, first + plan.tokens);
    const int64_t left = sequence.tokens - first;
    const int64_t token = sequence.first_row + first;
    float* o = args.o + (token * args.heads + stages.head * stages.group) * args.dv + column;
    run_stage<kSlots, kOneHead>(stages, s, stage,
                                left < plan.tokens ? static_cast<int>(left) : plan.tokens, o,
                                columns_left);
  }
  for_state<kSlots>(args, state, columns_left, [&](int j, int i, int e, float* at, bool ok) {
    if (ok) *at = s[j][i][e];
  });
}

template <int kSlots>
auto recurrent_for(bool one_head) {
  return one_head ? recurrent_kernel<kSlots, true> : recurrent_kernel<kSlots, false>;
}

int launch_recurrent(const GlaCudaArgs& args, const CudaLaunch& launch) {
  const int slots = args.dk <= 128 ? 1 : args.dk <= 256 ? 2 : 4;
  const int group = args.heads / args.kv_heads;
  RecurrentPlan plan{};
  const auto blocks = [&](int warps) {
    const int columns = kLaneColumns * warps;
    return dim3(static_cast<unsigned>((args.dv + columns - 1) / columns),
                static_cast<unsigned>(args.kv_heads), static_cast<unsigned>(args.count));
  };
  // Eight warps share what they stage; four when that leaves multiprocessors idle.
  const dim3 wide = blocks(8);
  plan.warps = static_cast<int64_t>(wide.x) * wide.y * wide.z >= launch.multiprocessors ? 8 : 4;
  plan.tokens = group == 1 ? 2 * kBatch : kBatch;
  plan.aligned_keys = key_rows_aligned(args) ? 1 : 0;
  plan.aligned_values = value_rows_aligned(args) ? 1 : 0;
  const int columns = kLaneColumns * plan.warps;
  const int64_t bytes =
      int64_t{8} * plan.tokens * token_floats(slots * 32 * kLaneRows, group, columns);
  if (args.dk > 512 || bytes > shared_limit(launch.device)) {
    return launch_step(args, launch);
  }
  const auto kernel = slots == 1   ? recurrent_for<1>(group == 1)
                      : slots == 2 ? recurrent_for<2>(group == 1)
                                   : recurrent_for<4>(group == 1);
  return launch_kernel(kernel, blocks(plan.warps), 32 * plan.warps, static_cast<int>(bytes),
                       launch.stream, args, plan);
}

}  // namespace
}  // namespace aquatint::kernels

// One token of each sequence.
extern "C" int aquatint_cuda_gla_step(const aquatint::kernels::GlaCudaArgs* args,
                                      const aquatint::CudaLaunch* launch) noexcept {
  return aquatint::kernels::launch_step(*args, *launch);
}

// Any number of tokens.
extern "C" int aquatint_cuda_gla_recurrent(const aquatint::kernels::GlaCudaArgs* args,
                                           const aquatint::CudaLaunch* launch) noexcept {
  return aquatint::kernels::launch_recurrent(*args, *launch);
}
