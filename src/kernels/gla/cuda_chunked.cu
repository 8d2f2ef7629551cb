// In chunks of 64 tokens on the tensor cores, for prefill: bfloat16 operands, float32 sums and
// state. cuda_scores.cuh does what chunks can do in parallel; the kernel here walks through the
// chunks of one sequence, for a tile of dv:
//   o = q~ S + A v        S' = e^{G_last} S + k~^T v
// It works on the transposes, S^T [dv, dk], because then the accumulators of the state have the
// layout of the left operand of o^T = S^T q~^T: the state never leaves the registers. Of eight
// warps two divide the tile and four divide dk; the four sum their outputs in shared memory.
#include "device/cuda_launch.h"
#include "kernels/gla/cuda_scores.cuh"

namespace aquatint::kernels {
namespace {

constexpr int kScanThreads = 256;
constexpr int kSplits = 4;  // of dk, and of the tokens in A v
constexpr int kTokenTiles = kGlaChunk / 8;

struct ScanPlan {
  int stages;          // 2: the next chunk is copied while this one is computed; else 1
  int aligned_values;  // rows of v and o start at multiples of 16 bytes
};

// Value: float, or __nv_bfloat16 where v is that already.
template <int kDk, int kTiles, typename Value>  // tiles of 16 columns of dv, per warp
struct Scan {
  static constexpr bool kBf16 = sizeof(Value) == 2;
  static constexpr int kColumns = 2 * 16 * kTiles;
  static constexpr int kSlice = kDk / kSplits;  // channels of a warp
  static constexpr int kStateTiles = kSlice / 8;
  static constexpr int kStride = kDk + 8;
  static constexpr int kValueStride = kColumns + (kBf16 ? 8 : 4);
  static constexpr int kOutputStride = kColumns + 4;

  struct Operands {
    __nv_bfloat16 q[kGlaChunk * kStride];
    __nv_bfloat16 k[kGlaChunk * kStride];  // with the group's last head only
    __nv_bfloat16 scores[kGlaChunk * kScoreStride];
    Value v[kGlaChunk * kValueStride];
    float decay[kDk];  // with the group's last head only
  };
  // What of the outputs each split of dk gives; takes the operands' place when they are used up.
  struct Partial {
    float o[kSplits][kGlaChunk * kOutputStride];
  };
  union Stage {
    Operands in;
    Partial out;
  };

  using Accumulators = float[kTiles][kStateTiles][4];
  using Outputs = float[kTiles][kTokenTiles][4];

  const GlaCudaArgs& args;
  const GlaCudaSequence& sequence;
  const ChunkScratch& scratch;
  bool aligned;
  int head, group, first_column;  // kv head
  int lane, part, split;          // the warp's part of the columns and of dk

  __device__ static void copy_rows(__nv_bfloat16* to, const __nv_bfloat16* from, int width,
                                   int stride) {
    const int pieces = width / 8;
    for (int i = static_cast<int>(threadIdx.x); i < kGlaChunk * pieces; i += kScanThreads) {
      cuda::copy_async<16>(to + i / pieces * stride + i % pieces * 8, from + 8 * i, true);
    }
  }

  template <int kWidth>
  __device__ void copy_values(Value* to, int64_t chunk) const {
    constexpr int kPieces = kColumns / kWidth;
    for (int i = static_cast<int>(threadIdx.x); i < kGlaChunk * kPieces; i += kScanThreads) {
      const int t = i / kPieces, e = i % kPieces * kWidth;
      const int64_t token = chunk * kGlaChunk + t;
      const bool valid = token < sequence.tokens && first_column + e < args.dv;
      const int64_t value =
          ((sequence.first_row + token) * args.kv_heads + head) * args.dv + first_column + e;
      const auto* from = reinterpret_cast<const Value*>(kBf16 ? static_cast<const void*>(args.v16)
                                                              : static_cast<const void*>(args.v));
      constexpr int kBytes = kWidth * static_cast<int>(sizeof(Value));
      cuda::copy_async<kBytes>(to + t * kValueStride + e, from + (valid ? value : 0), valid);
    }
  }
  __device__ void copy_values(Value* to, int64_t chunk) const {
    if constexpr (kBf16) {
      copy_values<8>(to, chunk);
    } else {
      aligned ? copy_values<4>(to, chunk) : copy_values<1>(to, chunk);
    }
  }

  // Item n is query head n % group of chunk n / group.
  __device__ void copy_item(Stage& stage, int64_t n) const {
    const int64_t chunk = n / group, at = sequence.first_chunk + chunk;
    const int c = static_cast<int>(n % group);
    const int64_t query = at * args.heads + head * group + c, key = at * args.kv_heads + head;
    copy_rows(stage.in.q, scratch.q + query * kGlaChunk * kDk, kDk, kStride);
    copy_rows(stage.in.scores, scratch.scores + query * kGlaChunk * kGlaChunk, kGlaChunk,
              kScoreStride);
    copy_values(stage.in.v, chunk);
    if (c != group - 1) return;
    copy_rows(stage.in.k, scratch.k + key * kGlaChunk * kDk, kDk, kStride);
    const int i = static_cast<int>(threadIdx.x);
    if (i < kDk / 4)
      cuda::copy_async<16>(stage.in.decay + 4 * i, scratch.decay + key * kDk + 4 * i, true);
  }

  // v^T for 16 columns and 16 tokens, as the left operand.
  __device__ void load_values(uint32_t (&a)[4], const Value* v, int tile, int token) const {
    const int column = 16 * (part * kTiles + tile);
    if constexpr (kBf16) {
      // Matrices of 8 tokens x 8 columns, transposed: of the first tokens both, then of the next.
      const int row = token + lane / 16 * 8 + lane % 8;
      load_matrices_transposed(a, v + row * kValueStride + column + lane / 8 % 2 * 8);
    } else {
      const float* at = v + (token + 2 * (lane % 4)) * kValueStride + column + lane / 4;
      a[0] = pack_bf16(at[0], at[kValueStride]);
      a[1] = pack_bf16(at[8], at[kValueStride + 8]);
      a[2] = pack_bf16(at[8 * kValueStride], at[9 * kValueStride]);
      a[3] = pack_bf16(at[8 * kValueStride + 8], at[9 * kValueStride + 8]);
    }
  }

  // o^T = S^T q~^T over the warp's channels + v^T A^T over its quarter of the tokens.
  __device__ void outputs(Outputs& o, const Accumulators& s, const Operands& in) const {
    // Two 8 x 8 matrices of a row of tokens, then the same 8 tokens below.
    const int row = lane / 16 * 8 + lane % 8, column = lane / 8 % 2 * 8;
#pragma unroll
    for (int d = 0; d < kSlice; d += 16) {
      uint32_t a[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        const float(&low)[4] = s[m][d / 8];
        const float(&high)[4] = s[m][d / 8 + 1];
        a[m][0] = pack_bf16(low[0], low[1]);
        a[m][1] = pack_bf16(low[2], low[3]);
        a[m][2] = pack_bf16(high[0], high[1]);
        a[m][3] = pack_bf16(high[2], high[3]);
      }
      const __nv_bfloat16* q = in.q + row * kStride + split * kSlice + d + column;
      multiply_tokens<kStride>(o, a, q);
    }
    uint32_t a[kTiles][4];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) load_values(a[m], in.v, m, 16 * split);
    multiply_tokens<kScoreStride>(o, a, in.scores + row * kScoreStride + 16 * split + column);
  }

  template <int kRowStride>
  __device__ static void multiply_tokens(Outputs& o, const uint32_t (&a)[kTiles][4],
                                         const __nv_bfloat16* b) {
#pragma unroll
    for (int n = 0; n < kTokenTiles; n += 2) {
      uint32_t x[4];
      load_matrices(x, b + 8 * n * kRowStride);
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        cuda::mma_bf16(o[m][n], a[m], x[0], x[1]);
        cuda::mma_bf16(o[m][n + 1], a[m], x[2], x[3]);
      }
    }
  }

  // S^T = S^T e^{G_last} + v^T k~.
  __device__ void update(Accumulators& s, const Operands& in) const {
    const int first = split * kSlice;
#pragma unroll
    for (int n = 0; n < kStateTiles; ++n) {
      const float2 decay =
          *reinterpret_cast<const float2*>(in.decay + first + 8 * n + 2 * (lane % 4));
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        s[m][n][0] *= decay.x;
        s[m][n][1] *= decay.y;
        s[m][n][2] *= decay.x;
        s[m][n][3] *= decay.y;
      }
    }
    const int row = lane % 16, column = lane / 16 * 8;
#pragma unroll
    for (int t = 0; t < kGlaChunk; t += 16) {
      uint32_t a[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) load_values(a[m], in.v, m, t);
#pragma unroll
      for (int n = 0; n < kStateTiles; n += 2) {
        uint32_t x[4];
        load_matrices_transposed(x, in.k + (t + row) * kStride + first + 8 * n + column);
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
          cuda::mma_bf16(s[m][n], a[m], x[0], x[1]);
          cuda::mma_bf16(s[m][n + 1], a[m], x[2], x[3]);
        }
      }
    }
  }

  __device__ void write_partial(Partial& out, const Outputs& o) const {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kTokenTiles; ++n) {
        float* at = out.o[split] + (8 * n + 2 * (lane % 4)) * kOutputStride +
                    16 * (part * kTiles + m) + lane / 4;
        at[0] = o[m][n][0];
        at[kOutputStride] = o[m][n][1];
        at[8] = o[m][n][2];
        at[kOutputStride + 8] = o[m][n][3];
      }
    }
  }

  __device__ void write_outputs(const Partial& partial, int64_t n) const {
    const int64_t chunk = n / group, token0 = chunk * kGlaChunk;
    const int c = static_cast<int>(n % group);
    constexpr int kPieces = kColumns / 4;
    for (int i = static_cast<int>(threadIdx.x); i < kGlaChunk * kPieces; i += kScanThreads) {
      const int t = i / kPieces, e = i % kPieces * 4;
      if (token0 + t >= sequence.tokens) break;
      float4 sum = *reinterpret_cast<const float4*>(partial.o[0] + t * kOutputStride + e);
#pragma unroll
      for (int p = 1; p < kSplits; ++p) {
        const float4 x = *reinterpret_cast<const float4*>(partial.o[p] + t * kOutputStride + e);
        sum = float4{sum.x + x.x, sum.y + x.y, sum.z + x.z, sum.w + x.w};
      }
      const int64_t row = sequence.first_row + token0 + t;
      const int left = args.dv - first_column - e;
      float* to = args.o + (row * args.heads + head * group + c) * args.dv + first_column + e;
      if (aligned) {
        if (left > 0) *reinterpret_cast<float4*>(to) = sum;
      } else {
        if (left > 0) to[0] = sum.x;
        if (left > 1) to[1] = sum.y;
        if (left > 2) to[2] = sum.z;
        if (left > 3) to[3] = sum.w;
      }
    }
  }

  // Calls use(accumulator, address, whether it exists) for what the thread holds of the state.
  template <typename Use>
  __device__ void for_state(Accumulators& s, const Use& use) const {
    float* state = sequence.state + static_cast<int64_t>(head) * args.dk * args.dv;
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kStateTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int d = split * kSlice + 8 * n + 2 * (lane % 4) + i % 2;
          const int e = first_column + 16 * (part * kTiles + m) + lane / 4 + i / 2 * 8;
          use(s[m][n][i], state + static_cast<int64_t>(d) * args.dv + e,
              d < args.dk && e < args.dv);
        }
      }
    }
  }
};

// One block per tile of dv, kv head and sequence.
template <int kDk, int kTiles, typename Value>
__global__ void __launch_bounds__(kScanThreads, 1)
    scan_kernel(const __grid_constant__ GlaCudaArgs args, const ChunkScratch scratch,
                const ScanPlan plan) {
  using Kernel = Scan<kDk, kTiles, Value>;
  const GlaCudaSequence& sequence = args.sequences[blockIdx.z];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const Kernel scan = {args,
                       sequence,
                       scratch,
                       plan.aligned_values != 0,
                       static_cast<int>(blockIdx.y),
                       args.heads / args.kv_heads,
                       static_cast<int>(blockIdx.x) * Kernel::kColumns,
                       static_cast<int>(threadIdx.x) % 32,
                       warp / kSplits,
                       warp % kSplits};
  auto* stages = reinterpret_cast<typename Kernel::Stage*>(shared_memory());
  const int64_t items = (sequence.tokens + kGlaChunk - 1) / kGlaChunk * scan.group;
  scan.copy_item(stages[0], 0);
  cuda::commit_copies();
  if (plan.stages == 2) {
    if (items > 1) scan.copy_item(stages[1], 1);
    cuda::commit_copies();
  }
  typename Kernel::Accumulators s;
  scan.for_state(s, [](float& x, const float* at, bool exists) { x = exists ? *at : 0.0F; });
  for (int64_t n = 0; n < items; ++n) {
    auto& stage = stages[plan.stages == 2 ? n % 2 : 0];
    if (plan.stages == 2) {
      cuda::wait_copies<1>();
    } else {
      cuda::wait_copies<0>();
    }
    __syncthreads();
    typename Kernel::Outputs o = {};
    scan.outputs(o, s, stage.in);
    if (n % scan.group == scan.group - 1) scan.update(s, stage.in);
    __syncthreads();  // the operands are used up
    scan.write_partial(stage.out, o);
    __syncthreads();
    scan.write_outputs(stage.out, n);
    __syncthreads();
    if (n + plan.stages < items) scan.copy_item(stage, n + plan.stages);
    cuda::commit_copies();
  }
  scan.for_state(s, [](float x, float* at, bool exists) {
    if (exists) *at = x;
  });
}

template <int kDk, int kTiles, typename Value>
int launch_scan(const GlaCudaArgs& args, const ChunkScratch& scratch, const CudaLaunch& launch) {
  using Kernel = Scan<kDk, kTiles, Value>;
  constexpr int kBytes = static_cast<int>(sizeof(typename Kernel::Stage));
  ScanPlan plan{};
  plan.stages = 2 * kBytes <= shared_limit(launch.device) ? 2 : 1;
  plan.aligned_values = value_rows_aligned(args) ? 1 : 0;
  const dim3 grid(static_cast<unsigned>((args.dv + Kernel::kColumns - 1) / Kernel::kColumns),
                  static_cast<unsigned>(args.kv_heads), static_cast<unsigned>(args.count));
  return launch_kernel(scan_kernel<kDk, kTiles, Value>, grid, kScanThreads, plan.stages * kBytes,
                       launch.stream, args, scratch, plan);
}

template <int kDk>
int launch_chunked(const GlaCudaArgs& args, const CudaLaunch& launch) {
  auto* bytes = static_cast<unsigned char*>(args.scratch);
  const auto take = [&](int64_t size) {
    unsigned char* at = bytes;
    bytes += size;
    return at;
  };
  constexpr int64_t kElements = int64_t{kGlaChunk} * kDk;
  const int64_t query_heads = args.chunks * args.heads, kv_heads = args.chunks * args.kv_heads;
  ChunkScratch scratch{};
  scratch.q = reinterpret_cast<__nv_bfloat16*>(take(2 * query_heads * kElements));
  scratch.k = reinterpret_cast<__nv_bfloat16*>(take(2 * kv_heads * kElements));
  scratch.scores = reinterpret_cast<__nv_bfloat16*>(take(2 * query_heads * kGlaChunk * kGlaChunk));
  scratch.decay = reinterpret_cast<float*>(take(4 * kv_heads * kDk));
  const bool q16 = args.q16 != nullptr, k16 = args.k16 != nullptr;
  const auto kernel = !args.gates  ? scores_kernel<kDk, Form::kValues>
                      : q16 != k16 ? scores_kernel<kDk, Form::kMixed>
                      : q16        ? scores_kernel<kDk, Form::kBFloat16>
                                   : scores_kernel<kDk, Form::kFloat32>;
  const dim3 grid(static_cast<unsigned>(args.chunks), static_cast<unsigned>(args.heads));
  const int failed = launch_kernel(kernel, grid, Scores<kDk>::kThreads,
                                   static_cast<int>(sizeof(typename Scores<kDk>::Shared)),
                                   launch.stream, args, scratch);
  if (failed != 0) return failed;
  // Tiles of 64 columns use each operand twice; of 32 when that leaves multiprocessors idle.
  const int64_t wide = int64_t{(args.dv + 63) / 64} * args.kv_heads * args.count;
  const bool wide_tiles = wide >= launch.multiprocessors;
  if (args.v16 != nullptr) {
    return wide_tiles ? launch_scan<kDk, 2, __nv_bfloat16>(args, scratch, launch)
                      : launch_scan<kDk, 1, __nv_bfloat16>(args, scratch, launch);
  }
  return wide_tiles ? launch_scan<kDk, 2, float>(args, scratch, launch)
                    : launch_scan<kDk, 1, float>(args, scratch, launch);
}

}  // namespace
}  // namespace aquatint::kernels

// REQUIRES: dk <= kGlaChunkedDk, scratch, and sequences in the order of their first_chunk.
extern "C" int aquatint_cuda_gla_chunked(const aquatint::kernels::GlaCudaArgs* args,
                                         const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  switch (gla_padded_dk(args->dk)) {
    case 64:
      return launch_chunked<64>(*args, *launch);
    case 128:
      return launch_chunked<128>(*args, *launch);
    default:
      return launch_chunked<256>(*args, *launch);
  }
}
