// Internal to kernels/gla: one token, for decoding. The state is read and written once, in rows of
// contiguous columns, and everything else hides behind that traffic. Blocks divide dv; the threads
// of a block divide its columns and dk, and sum over dk in a fixed order. Takes any number of
// tokens, heads and any dk, with the state going through memory for each, so it is also what runs
// where the state does not fit the registers of recurrent_kernel.
#pragma once

#include "kernels/cuda_overlap.cuh"
#include "kernels/gla/cuda_decay.cuh"
#include "kernels/gla/cuda_warp.cuh"

namespace aquatint::kernels {
namespace {

constexpr int kStepThreads = 256, kStepWarps = kStepThreads / 32;
constexpr int kStepRows = 256;  // of dk, in registers at a time
constexpr int kStepHeads = 8;   // query heads of a group at a time

template <bool kVector>
__device__ inline void load4(float (&x)[4], const float* from, int valid) {
  if constexpr (kVector) {
    const float4 all = valid > 0 ? *reinterpret_cast<const float4*>(from) : float4{};
    x[0] = all.x, x[1] = all.y, x[2] = all.z, x[3] = all.w;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = i < valid ? from[i] : 0.0F;
  }
}

template <bool kVector>
__device__ inline void store4(float* to, const float (&x)[4], int valid) {
  if constexpr (kVector) {
    if (valid > 0) *reinterpret_cast<float4*>(to) = float4{x[0], x[1], x[2], x[3]};
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < valid) to[i] = x[i];
    }
  }
}

// kLanes threads beside each other hold four columns each. With kVector, dv is a multiple of four
// and rows start at multiples of 16 bytes.
// With kGated the step makes its log decays itself.
template <int kLanes, bool kVector, bool kGated>
struct Step {
  static constexpr int kColumns = 4 * kLanes;
  static constexpr int kGroups = kStepThreads / kLanes;  // of threads, dividing dk
  static constexpr int kPerThread = kStepRows / kGroups;

  struct Shared {
    float decay[kStepRows];
    float k[kStepRows];
    float q[kStepHeads][kStepRows];
    float sums[kStepHeads][kStepWarps][kColumns];
  };

  // Where a block's kv head of one sequence is, and what of it is the thread's.
  struct Place {
    const GlaCudaArgs& args;
    int head, group;                  // kv head; query heads that read it
    int first_column, column, valid;  // of the block; of the thread, and how many exist
    int row_group;
    float* state;  // of the kv head

    __device__ explicit Place(const GlaCudaArgs& all) : args(all) {
      head = static_cast<int>(blockIdx.y);
      group = all.heads / all.kv_heads;
      first_column = static_cast<int>(blockIdx.x) * kColumns;
      column = first_column + 4 * (static_cast<int>(threadIdx.x) % kLanes);
      valid = all.dv - column;
      row_group = static_cast<int>(threadIdx.x) / kLanes;
      state = all.sequences[blockIdx.z].state + static_cast<int64_t>(head) * all.dk * all.dv;
    }
    __device__ int row(int first, int i) const { return first + i * kGroups + row_group; }
    __device__ float* at(int d) const { return state + static_cast<int64_t>(d) * args.dv + column; }
  };

  // A thread's channel's row of the gate, bfloat16 pairs. Weights, so they may be read early.
  struct GateRow {
    uint4 w[kGated ? 2 : 1];
  };
  __device__ static GateRow load_gate_row(const Place& place, int first) {
    GateRow row = {};
    if constexpr (kGated) {
      const int d = first + static_cast<int>(threadIdx.x);
      if (d >= place.args.dk) return row;
      const int64_t channel = static_cast<int64_t>(place.head) * place.args.dk + d;
      const auto* from = reinterpret_cast<const uint4*>(place.args.gate.w + channel * kGlaGateRank);
      row.w[0] = from[0];
      row.w[1] = from[1];
    }
    return row;
  }

  __device__ static float pair_product(uint32_t w, float x0, float x1, float sum) {
    sum = fmaf(__uint_as_float(w << 16), __bfloat162float(__float2bfloat16_rn(x0)), sum);
    return fmaf(__uint_as_float(w & 0xffff0000U), __bfloat162float(__float2bfloat16_rn(x1)), sum);
  }

  __device__ static float gated_log_decay(const GlaCudaArgs& args, const GateRow& row,
                                          int64_t token, int64_t channel) {
    const GlaCudaGate& gate = args.gate;
    const auto* low = reinterpret_cast<const float4*>(gate.low + token * kGlaGateRank);
    float r = 0.0F;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float4 a = low[2 * i], b = low[2 * i + 1];
      r = pair_product(row.w[i].x, a.x, a.y, r);
      r = pair_product(row.w[i].y, a.z, a.w, r);
      r = pair_product(row.w[i].z, b.x, b.y, r);
      r = pair_product(row.w[i].w, b.z, b.w, r);
    }
    if (gate.bias != nullptr) r += gate.bias[channel];
    return log_decay_of(r, gate.normalizer, gate.lowest);
  }

  // Asks for the thread's part of the state that is read first.
  __device__ static void prefetch(const Place& place) {
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const int d = place.row(0, i);
      if (d < place.args.dk && place.valid > 0) cuda::prefetch_l2(place.at(d));
    }
  }

  // Decay, key and queries of kStepRows channels of one token, zero past dk.
  __device__ static void stage(const Place& place, Shared& shared, const GateRow& gate_row,
                               int64_t token, int first, int head0, int heads) {
    const GlaCudaArgs& args = place.args;
    const int d = first + static_cast<int>(threadIdx.x);
    const bool exists = d < args.dk;
    const int64_t channel = static_cast<int64_t>(place.head) * args.dk + d;
    const int64_t key = token * args.kv_heads * args.dk + channel;
    const int64_t query =
        (token * args.heads + static_cast<int64_t>(place.head) * place.group + head0) * args.dk + d;
    float log_decay = 0.0F;
    if constexpr (kGated) {
      if (exists) log_decay = gated_log_decay(args, gate_row, token, channel);
    } else {
      if (exists) log_decay = args.g[key];
    }
    shared.decay[threadIdx.x] = exists ? expf(log_decay) : 0.0F;
    shared.k[threadIdx.x] = exists ? args.k[key] : 0.0F;
    for (int c = 0; c < heads; ++c) {
      shared.q[c][threadIdx.x] = exists ? args.q[query + static_cast<int64_t>(c) * args.dk] : 0.0F;
    }
  }

  // Adds what the thread's rows give to the warp's sums.
  __device__ static void read(const Place& place, Shared& shared, const float (&s)[kPerThread][4],
                              int first, int heads) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    for (int c = 0; c < heads; ++c) {
      float sum[4] = {};
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) {
        const float q = shared.q[c][i * kGroups + place.row_group];
#pragma unroll
        for (int e = 0; e < 4; ++e) sum[e] = fmaf(q, s[i][e], sum[e]);
      }
#pragma unroll
      for (int mask = kLanes; mask < 32; mask *= 2) {
#pragma unroll
        for (int e = 0; e < 4; ++e) sum[e] += shuffle_xor(sum[e], mask);
      }
      if (lane < kLanes) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          float& total = shared.sums[c][warp][4 * lane + e];
          total = first == 0 ? sum[e] : total + sum[e];
        }
      }
    }
  }

  __device__ static void write_outputs(const Place& place, const Shared& shared, int64_t token,
                                       int head0, int heads) {
    const GlaCudaArgs& args = place.args;
    for (int i = static_cast<int>(threadIdx.x); i < heads * kColumns; i += kStepThreads) {
      const int c = i / kColumns, e = i % kColumns;
      float sum = 0.0F;
#pragma unroll
      for (int w = 0; w < kStepWarps; ++w) sum += shared.sums[c][w][e];
      const int64_t head = static_cast<int64_t>(place.head) * place.group + head0 + c;
      if (place.first_column + e < args.dv) {
        args.o[(token * args.heads + head) * args.dv + place.first_column + e] = args.scale * sum;
      }
    }
  }

  // Query heads head0 .. head0+heads of one token; those with head0 == 0 update the state.
  // gate_row: of the first channels.
  __device__ static void run(const Place& place, Shared& shared, const GateRow& gate_row,
                             int64_t token, int head0, int heads) {
    const GlaCudaArgs& args = place.args;
    float v[4];
    load4<kVector>(v, args.v + (token * args.kv_heads + place.head) * args.dv + place.column,
                   place.valid);
    for (int first = 0; first < args.dk; first += kStepRows) {
      float s[kPerThread][4];
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) {
        const int d = place.row(first, i);
        load4<kVector>(s[i], place.at(d), d < args.dk ? place.valid : 0);
      }
      __syncthreads();  // all have read what is staged now
      stage(place, shared, first == 0 ? gate_row : load_gate_row(place, first), token, first, head0,
            heads);
      __syncthreads();
      if (head0 == 0) {
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) {
          const int d = place.row(first, i);
          const float decay = shared.decay[d - first], k = shared.k[d - first];
#pragma unroll
          for (int e = 0; e < 4; ++e) s[i][e] = fmaf(s[i][e], decay, k * v[e]);
          store4<kVector>(place.at(d), s[i], d < args.dk ? place.valid : 0);
        }
      }
      read(place, shared, s, first, heads);
    }
    __syncthreads();
    write_outputs(place, shared, token, head0, heads);
  }
};

template <int kLanes, bool kVector, bool kGated>
__global__ void __launch_bounds__(kStepThreads, 3)
    step_kernel(const __grid_constant__ GlaCudaArgs args) {
  using Kernel = Step<kLanes, kVector, kGated>;
  __shared__ typename Kernel::Shared shared;
  const typename Kernel::Place place(args);
  const GlaCudaSequence& sequence = args.sequences[blockIdx.z];
  const typename Kernel::GateRow gate_row = Kernel::load_gate_row(place, 0);
  if (kLanes == 4) Kernel::prefetch(place);  // few blocks, each waiting for its first bytes
  cuda::begin_work();
  for (int64_t t = 0; t < sequence.tokens; ++t) {
    for (int head0 = 0; head0 < place.group; head0 += kStepHeads) {
      const int heads = place.group - head0 < kStepHeads ? place.group - head0 : kStepHeads;
      Kernel::run(place, shared, gate_row, sequence.first_row + t, head0, heads);
    }
  }
}

// Tiles of 32 columns, rows of a whole line of the cache; of 16 when that gives too few blocks.
int launch_step(const GlaCudaArgs& args, const CudaLaunch& launch) {
  const bool vector = value_rows_aligned(args), gated = args.gate.w != nullptr;
  const auto grid = [&](int columns) {
    return dim3(static_cast<unsigned>((args.dv + columns - 1) / columns),
                static_cast<unsigned>(args.kv_heads), static_cast<unsigned>(args.count));
  };
  const dim3 wide = grid(32);
  if (static_cast<int64_t>(wide.x) * wide.y * wide.z < launch.multiprocessors) {
    const auto kernel = gated ? (vector ? step_kernel<4, true, true> : step_kernel<4, false, true>)
                              : (vector ? step_kernel<4, true, false>
                                        : step_kernel<4, false, false>);
    return cuda::launch_overlapped(launch, kernel, grid(16), kStepThreads, 0, args);
  }
  const auto kernel = gated ? (vector ? step_kernel<8, true, true> : step_kernel<8, false, true>)
                            : (vector ? step_kernel<8, true, false> : step_kernel<8, false, false>);
  return cuda::launch_overlapped(launch, kernel, wide, kStepThreads, 0, args);
}

}  // namespace
}  // namespace aquatint::kernels
