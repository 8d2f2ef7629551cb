// Internal to kernels/gla: the part of the chunked form that chunks do in parallel. For 64 tokens
// of one query head it makes, with G the running sum of g in the chunk, all decays as products of
// factors exp(g) <= 1:
//   queries q e^{G_i} scale and keys k e^{G_last - G_j}, e^{G_last}, and the scores
//   A_ij = scale sum_d q_id k_jd e^{G_id - G_jd} for j <= i
//
// A pair j < i lies, for exactly one b of 1, 2, 4, .., 32, in neighbouring blocks of b tokens, j in
// an even one and i in the odd one after it. With n the last token of j's block its decay is
// e^{G_i - G_n} e^{G_n - G_j}, both at most 1: the pairs of one b are a matrix product, of which
// the tensor cores compute the 16 x 8 tiles that hold any. From b to 2b, queries of odd blocks are
// multiplied by the decay over the even block before, keys of even blocks by that over the odd one
// after, and at last they are those of the chunk. The diagonal needs no decay and stays in float32.
#pragma once

#include "kernels/gla/cuda_warp.cuh"

namespace aquatint::kernels {
namespace {

constexpr int kScoreStride = kGlaChunk + 8;  // in shared memory; 8: no bank conflicts
constexpr int kHalf = kGlaChunk / 2;         // tokens of a thread

// Where the parts of scratch begin; chunks x heads of [64, padded dk] or [64, 64] each.
struct ChunkScratch {
  __nv_bfloat16* q;
  __nv_bfloat16* k;
  __nv_bfloat16* scores;
  float* decay;  // [chunks, kv_heads, padded dk]
};

// The sequence that a chunk of the launch belongs to.
__device__ inline const GlaCudaSequence& sequence_of(const GlaCudaArgs& args, int64_t chunk) {
  int low = 0, high = args.count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (args.sequences[middle].first_chunk <= chunk) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return args.sequences[low];
}

// Values and log decays; or products and gates, of which queries and keys are float32, bfloat16, or
// one of each.
enum class Form { kValues, kFloat32, kBFloat16, kMixed };

// A thread's channel of half a chunk.
struct ChannelHalf {
  float q[kHalf];      // decayed since the block's start, this token included
  float k[kHalf];      // decayed up to the block's end
  float decay[kHalf];  // of whole blocks; fewer and fewer
};

template <int kDk>
struct Scores {
  static constexpr int kStride = kDk + 8;
  static constexpr int kThreads = 2 * kDk, kWarps = kThreads / 32;

  struct Shared {
    // Row i holds the token's query if it is in an odd block, else its key. Two, taken in turns.
    __nv_bfloat16 operands[2][kGlaChunk * kStride];
    __nv_bfloat16 scores[kGlaChunk * kScoreStride];
    float diagonal[kWarps][kHalf];
    float decay[2][kDk];  // of the halves
  };

  // Values of the thread's channel, of which the first `valid` exist. Whatever decides their form
  // at run time would have to wait for one array's values before it asks for the next.
  __device__ static void load_channel(float (&x)[kHalf], const float* f32, int64_t at,
                                      int64_t stride, int valid, float missing = 0.0F) {
    f32 += at;
#pragma unroll
    for (int i = 0; i < kHalf; ++i, f32 += stride) x[i] = i < valid ? *f32 : missing;
  }
  __device__ static void load_channel(float (&x)[kHalf], const uint16_t* bf16, int64_t at,
                                      int64_t stride, int valid) {
    bf16 += at;
#pragma unroll
    for (int i = 0; i < kHalf; ++i, bf16 += stride) {
      x[i] = __uint_as_float(i < valid ? uint32_t{*bf16} << 16 : 0U);
    }
  }

  // exp(max(logsigmoid(r) / normalizer, lowest)) by powers of 2: within 2^-20 of itself, where
  // operands are rounded to 2^-9. A comparison, so that NaN stays NaN.
  __device__ static float decay_of_gate(float r, float per_normalizer, float lowest) {
    constexpr float kLog2E = 1.44269504F;
    const float tail = log2_fast(1.0F + exp2_fast(-fabsf(r) * kLog2E));
    const float g = (fminf(r, 0.0F) * kLog2E - tail) * per_normalizer;
    return exp2_fast(g < lowest * kLog2E ? lowest * kLog2E : g);
  }

  template <Form kForm>
  __device__ static void load(const GlaCudaArgs& args, const GlaCudaSequence& sequence,
                              int64_t token0, int head, int half, int d, ChannelHalf& x) {
    const int kv_head = head / (args.heads / args.kv_heads);
    const int64_t row = sequence.first_row + token0 + half * kHalf;
    const int64_t q_stride = static_cast<int64_t>(args.heads) * args.dk;
    const int64_t k_stride = static_cast<int64_t>(args.kv_heads) * args.dk;
    const int64_t query = row * q_stride + static_cast<int64_t>(head) * args.dk + d;
    const int64_t key = row * k_stride + static_cast<int64_t>(kv_head) * args.dk + d;
    const int64_t left = sequence.tokens - token0 - half * kHalf;
    const int valid = d >= args.dk ? 0 : left < kHalf ? static_cast<int>(left) : kHalf;
    if constexpr (kForm == Form::kBFloat16) {
      load_channel(x.q, args.q16, query, q_stride, valid);
      load_channel(x.k, args.k16, key, k_stride, valid);
    } else if constexpr (kForm != Form::kMixed) {
      load_channel(x.q, args.q, query, q_stride, valid);
      load_channel(x.k, args.k, key, k_stride, valid);
    } else if (args.q16 != nullptr) {
      load_channel(x.q, args.q16, query, q_stride, valid);
      load_channel(x.k, args.k, key, k_stride, valid);
    } else {
      load_channel(x.q, args.q, query, q_stride, valid);
      load_channel(x.k, args.k16, key, k_stride, valid);
    }
    // A gate of infinity is open: no decay.
    constexpr bool kGates = kForm != Form::kValues;
    load_channel(x.decay, args.g, key, k_stride, valid, kGates ? __int_as_float(0x7f800000) : 0.0F);
    const float per_normalizer = 1.0F / args.normalizer;
#pragma unroll
    for (int i = 0; i < kHalf; ++i) {
      x.q[i] *= args.scale;
      x.decay[i] =
          kGates ? decay_of_gate(x.decay[i], per_normalizer, args.lowest) : expf(x.decay[i]);
    }
  }

  // Each warp's part of q_i k_i for its 32 tokens, before any decay.
  __device__ static void sum_diagonal(const ChannelHalf& x, Shared& shared) {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int first = 0; first < kHalf; first += 8) {
      float products[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) products[i] = x.q[first + i] * x.k[first + i];
      sum_over_warp(products, lane);
      if (lane % 4 == 0) shared.diagonal[warp][first + lane / 4] = products[0];
    }
  }

  __device__ static void write_diagonal(Shared& shared) {
    const int i = static_cast<int>(threadIdx.x);
    if (i >= kGlaChunk) return;
    constexpr int kParts = kWarps / 2;
    float sum = 0.0F;
#pragma unroll
    for (int w = 0; w < kParts; ++w) sum += shared.diagonal[i / kHalf * kParts + w][i % kHalf];
    shared.scores[i * kScoreStride + i] = __float2bfloat16_rn(sum);
  }

  // Writes the operands of blocks of kBlock tokens and goes on to blocks of twice that.
  template <int kBlock>
  __device__ static void write_level(ChannelHalf& x, __nv_bfloat16* operands) {
#pragma unroll
    for (int i = 0; i < kHalf; ++i) {
      const bool odd = i / kBlock % 2 != 0;
      operands[i * kStride] = __float2bfloat16_rn(odd ? x.q[i] : x.k[i]);
      if (odd) {
        x.q[i] *= x.decay[i / kBlock - 1];
      } else {
        x.k[i] *= x.decay[i / kBlock + 1];
      }
    }
#pragma unroll
    for (int m = 0; m < kHalf / (2 * kBlock); ++m) x.decay[m] = x.decay[2 * m] * x.decay[2 * m + 1];
  }

  // Tiles of 16 x 8 scores that hold pairs of blocks of kBlock tokens, and where they begin.
  template <int kBlock>
  __device__ static constexpr int tiles() {
    return kBlock == 8 || kBlock == 16 ? 4 : 8;
  }
  template <int kBlock>
  __device__ static int first_row(int tile) {
    if (kBlock == 32) return 32 + 16 * (tile / 4);
    if (kBlock == 16) return 32 * (tile / 2) + 16;
    return kBlock == 8 ? 16 * tile : 16 * (tile / 2);
  }
  template <int kBlock>
  __device__ static int first_column(int tile) {
    if (kBlock == 32) return 8 * (tile % 4);
    if (kBlock == 16) return 32 * (tile / 2) + 8 * (tile % 2);
    return kBlock == 8 ? 16 * tile : 8 * tile;
  }

  template <int kBlock>
  __device__ static void store_pair(Shared& shared, int i, int j, float score) {
    const int block = i / kBlock;
    if (block % 2 != 0 && j / kBlock == block - 1) {
      shared.scores[i * kScoreStride + j] = __float2bfloat16_rn(score);
    }
  }

  template <int kBlock>
  __device__ static void multiply_level(Shared& shared, const __nv_bfloat16* operands) {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    for (int tile = warp; tile < tiles<kBlock>(); tile += kWarps) {
      const int row = first_row<kBlock>(tile), column = first_column<kBlock>(tile);
      const __nv_bfloat16* a = operands + (row + lane % 16) * kStride + lane / 16 * 8;
      const __nv_bfloat16* b = operands + (column + lane % 8) * kStride + lane / 8 * 8;
      float c[2][4] = {};
#pragma unroll
      for (int d = 0; d < kDk; d += 32) {
        uint32_t a0[4], a1[4], both[4];
        load_matrices(a0, a + d);
        load_matrices(a1, a + d + 16);
        load_matrices(both, b + d);
        cuda::mma_bf16(c[0], a0, both[0], both[1]);
        cuda::mma_bf16(c[1], a1, both[2], both[3]);
      }
      const int i = row + lane / 4, j = column + 2 * (lane % 4);
      store_pair<kBlock>(shared, i, j, c[0][0] + c[1][0]);
      store_pair<kBlock>(shared, i, j + 1, c[0][1] + c[1][1]);
      store_pair<kBlock>(shared, i + 8, j, c[0][2] + c[1][2]);
      store_pair<kBlock>(shared, i + 8, j + 1, c[0][3] + c[1][3]);
    }
  }

  // Buffers alternate, so that one barrier per level is enough: who writes a buffer again has seen
  // everyone come out of the product before the last.
  template <int kBlock, int kBuffer>
  __device__ static void level(ChannelHalf& x, Shared& shared, int offset) {
    write_level<kBlock>(x, shared.operands[kBuffer] + offset);
    __syncthreads();
    multiply_level<kBlock>(shared, shared.operands[kBuffer]);
  }

  // The last level, whose blocks are the halves: each thread's tokens are in one block.
  __device__ static void last_level(ChannelHalf& x, Shared& shared, int offset, int half, int d) {
#pragma unroll
    for (int i = 0; i < kHalf; ++i) {
      shared.operands[1][offset + i * kStride] = __float2bfloat16_rn(half != 0 ? x.q[i] : x.k[i]);
    }
    shared.decay[half][d] = x.decay[0];
    __syncthreads();
    multiply_level<32>(shared, shared.operands[1]);
    const float other = shared.decay[1 - half][d];
#pragma unroll
    for (int i = 0; i < kHalf; ++i) {
      if (half != 0) {
        x.q[i] *= other;
      } else {
        x.k[i] *= other;
      }
    }
    x.decay[0] *= other;
  }

  __device__ static void write_out(const GlaCudaArgs& args, const ChunkScratch& scratch,
                                   const ChannelHalf& x, const Shared& shared, int64_t chunk,
                                   int head, int half, int d) {
    constexpr int kElements = kGlaChunk * kDk;
    const int group = args.heads / args.kv_heads;
    const int64_t at = chunk * args.heads + head;
    const int offset = half * kHalf * kDk + d;
    __nv_bfloat16* q = scratch.q + at * kElements + offset;
#pragma unroll
    for (int i = 0; i < kHalf; ++i) q[i * kDk] = __float2bfloat16_rn(x.q[i]);
    if (head % group == 0) {
      const int64_t kv_at = chunk * args.kv_heads + head / group;
      __nv_bfloat16* k = scratch.k + kv_at * kElements + offset;
#pragma unroll
      for (int i = 0; i < kHalf; ++i) k[i * kDk] = __float2bfloat16_rn(x.k[i]);
      if (half == 0) scratch.decay[kv_at * kDk + d] = x.decay[0];
    }
    __nv_bfloat16* scores = scratch.scores + at * kGlaChunk * kGlaChunk;
    for (int i = static_cast<int>(threadIdx.x); i < kGlaChunk * kGlaChunk / 8; i += kThreads) {
      *reinterpret_cast<uint4*>(scores + 8 * i) = *reinterpret_cast<const uint4*>(
          shared.scores + i / (kGlaChunk / 8) * kScoreStride + i % (kGlaChunk / 8) * 8);
    }
  }
};

// One block per chunk and query head.
template <int kDk, Form kForm>
__global__ void __launch_bounds__(2 * kDk, 1)
    scores_kernel(const __grid_constant__ GlaCudaArgs args, const ChunkScratch scratch) {
  using Kernel = Scores<kDk>;
  auto& shared = *reinterpret_cast<typename Kernel::Shared*>(shared_memory());
  const int64_t chunk = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y);
  const int half = static_cast<int>(threadIdx.x) / kDk, d = static_cast<int>(threadIdx.x) % kDk;
  const GlaCudaSequence& sequence = sequence_of(args, chunk);
  const int64_t token0 = (chunk - sequence.first_chunk) * kGlaChunk;
  ChannelHalf x;
  Kernel::template load<kForm>(args, sequence, token0, head, half, d, x);
  for (int i = static_cast<int>(threadIdx.x); i < kGlaChunk * kScoreStride / 2;
       i += Kernel::kThreads) {
    reinterpret_cast<uint32_t*>(shared.scores)[i] = 0;
  }
  Kernel::sum_diagonal(x, shared);
#pragma unroll
  for (int i = 0; i < kHalf; ++i) x.q[i] *= x.decay[i];
  const int offset = half * kHalf * Kernel::kStride + d;
  Kernel::template level<1, 0>(x, shared, offset);
  Kernel::write_diagonal(shared);
  Kernel::template level<2, 1>(x, shared, offset);
  Kernel::template level<4, 0>(x, shared, offset);
  Kernel::template level<8, 1>(x, shared, offset);
  Kernel::template level<16, 0>(x, shared, offset);
  Kernel::last_level(x, shared, offset, half, d);
  __syncthreads();
  Kernel::write_out(args, scratch, x, shared, chunk, head, half, d);
}

}  // namespace
}  // namespace aquatint::kernels
