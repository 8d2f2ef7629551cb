// Products of bfloat16 activations with packed weights on tensor cores. The weights are the left
// operand, 16 outputs by 16 columns, so that one row of activations wastes none of the bytes that
// come from memory; their integers become bfloat16 exactly, in registers.
#include "kernels/quant_matmul/cuda_generic.cuh"
#include "kernels/quant_matmul/cuda_made_rows.cuh"
#include "kernels/quant_matmul/cuda_start.cuh"

namespace aquatint::kernels {
namespace {

// A lane's weights of two outputs, g and g + 8, in a block of columns.
struct Words {
  uint32_t low[4], high[4];
};

__device__ __forceinline__ Words load_words(const uint8_t* weights, int lane) {
  const uint4 low = *reinterpret_cast<const uint4*>(weights + lane * 16);
  const uint4 high = *reinterpret_cast<const uint4*>(weights + kBlockBytes / 2 + lane * 16);
  return {{low.x, low.y, low.z, low.w}, {high.x, high.y, high.z, high.w}};
}

// The small whole numbers 128 + v are 0x4300 | v in bfloat16, and 256 is 0x4380.
constexpr uint32_t kMagic = 0x43004300u;

// int8 in the low bytes of both halves of `v`: seven bits make 128 + them, and the sign bit makes
// 128 into 256; the difference is the number.
__device__ __forceinline__ uint32_t bf16x2_of_int8x2(uint32_t v) {
  return subtract_bf16x2(and_or<0x007f007fu, kMagic>(v), and_or<0x00800080u, kMagic>(v));
}

// What is subtracted from the weights of an output: with 4 bits 128 + 8 + zero, which the pair of
// 128 + u has too much.
template <int kBits>
__device__ __forceinline__ uint32_t offset_of(int zero) {
  if constexpr (kBits == 16) return 0;
  if constexpr (kBits == 4) return (0x4308u + static_cast<uint32_t>(zero)) * 0x10001u;
  return bf16x2_of_int8x2((static_cast<uint32_t>(zero) & 0xffu) * 0x10001u);
}

// Pair `pair` = 0..3 of the eight columns `piece` of a lane.
// Without kSubtract 4-bit weights stay 128 + u; the product has 136 + zero for each activation too
// much.
template <int kBits, bool kSubtract>
__device__ __forceinline__ uint32_t weight_pair(const uint32_t (&words)[4], int piece, int pair,
                                                uint32_t offset) {
  if constexpr (kBits == 16) {
    return words[pair];
  } else if constexpr (kBits == 4) {
    const uint32_t two = and_or<0x000f000fu, kMagic>(words[piece] >> (4 * pair));
    return kSubtract ? subtract_bf16x2(two, offset) : two;
  } else {
    const uint32_t word = words[2 * piece + pair / 2];
    // Bytes 0 and 1, or 2 and 3, each in a half.
    const uint32_t two = __byte_perm(word, 0, pair % 2 == 0 ? 0x4140 : 0x4342);
    return subtract_bf16x2(bf16x2_of_int8x2(two), offset);
  }
}

// d += the products of `kCount` pieces from `first`. offsets: of outputs g and g + 8 of a panel.
template <typename F, int kCount, bool kSubtract = true>
__device__ __forceinline__ void multiply_pieces(const Pieces<F>& x, int first,
                                                const Words (&words)[F::kPanels],
                                                const uint32_t (&offsets)[F::kPanels][2],
                                                float (&d)[F::kPanels][F::kTiles][4]) {
#pragma unroll
  for (int piece = first; piece < first + kCount; ++piece) {
    uint4 b[F::kTiles];
#pragma unroll
    for (int tile = 0; tile < F::kTiles; ++tile) {
      b[tile] = *reinterpret_cast<const uint4*>(x.first[tile] + piece * x.step);
    }
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      const auto& low = words[p].low;
      const auto& high = words[p].high;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto pair = [&](const uint32_t (&eight)[4], int which, int output) {
          return weight_pair<F::kBits, kSubtract>(eight, piece, which, offsets[p][output]);
        };
        const uint32_t a[4] = {pair(low, 2 * half, 0), pair(high, 2 * half, 1),
                               pair(low, 2 * half + 1, 0), pair(high, 2 * half + 1, 1)};
#pragma unroll
        for (int tile = 0; tile < F::kTiles; ++tile) {
          cuda::mma_bf16(d[p][tile], a, half == 0 ? b[tile].x : b[tile].z,
                   half == 0 ? b[tile].y : b[tile].w);
        }
      }
    }
  }
}

// One block of columns whose groups have scales of their own.
template <typename F>
__device__ __forceinline__ void multiply_groups(const uint8_t* stage, int g, const Pieces<F>& x,
                                                bool asymmetric,
                                                const Words (&words)[F::kPanels],
                                                float (&sums)[F::kPanels][F::kTiles][4]) {
  constexpr int kCount = 16 / F::kBits / F::kRuns;  // pieces
#pragma unroll
  for (int run = 0; run < F::kRuns; ++run) {
    uint32_t offsets[F::kPanels][2];
    float d[F::kPanels][F::kTiles][4] = {};
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      const auto* zeros =
          reinterpret_cast<const int8_t*>(stage + F::kZerosAt) + (p * F::kRuns + run) * kPanel;
      offsets[p][0] = offset_of<F::kBits>(asymmetric ? zeros[g] : 0);
      offsets[p][1] = offset_of<F::kBits>(asymmetric ? zeros[g + 8] : 0);
    }
    multiply_pieces<F, kCount>(x, run * kCount, words, offsets, d);
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      const auto* scales =
          reinterpret_cast<const float*>(stage + F::kScalesAt) + (p * F::kRuns + run) * kPanel;
      const float low = scales[g], high = scales[g + 8];
#pragma unroll
      for (int tile = 0; tile < F::kTiles; ++tile) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sums[p][tile][i] = __fmaf_rn(d[p][tile][i], i < 2 ? low : high, sums[p][tile][i]);
        }
      }
    }
  }
}

// The same with one run of kPart columns and made rows, of which that many columns' sums are known:
// what the weights have too much is subtracted from the sum, not from each.
template <typename F>
__device__ __forceinline__ void multiply_run(const uint8_t* stage, int lane, const Pieces<F>& x,
                                             bool asymmetric, const float* part_sums, int last_row,
                                             const Words (&words)[F::kPanels],
                                             float (&sums)[F::kPanels][F::kTiles][4]) {
  static_assert(F::kPanels == 1 && F::kTiles == 1 && F::kColumns == kPart);
  const int g = lane / 4, t = lane % 4;
  const uint32_t none[1][2] = {};
  float d[1][1][4] = {};
  multiply_pieces<F, 4, false>(x, 0, words, none, d);
  const auto* scales = reinterpret_cast<const float*>(stage + F::kScalesAt) + g;
  const auto* zeros = reinterpret_cast<const int8_t*>(stage + F::kZerosAt) + g;
  constexpr int kRow = kMostMadeColumns / kPart;
  const float x_sums[2] = {part_sums[min(2 * t, last_row) * kRow],
                           part_sums[min(2 * t + 1, last_row) * kRow]};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float offset = asymmetric ? static_cast<float>(136 + zeros[half * 8]) : 136.0f;
    const float scale = scales[half * 8];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float dot = __fmaf_rn(-offset, x_sums[i], d[0][0][2 * half + i]);
      sums[0][0][2 * half + i] = __fmaf_rn(dot, scale, sums[0][0][2 * half + i]);
    }
  }
}

template <typename F>
__global__ void __launch_bounds__(kMostWarps* kLanes, F::kMade ? 2 : 1)
    product_a16(const __grid_constant__ Work work) {
  extern __shared__ __align__(16) uint8_t shared[];
  if constexpr (F::kMade) {
    const int output = static_cast<int>(blockIdx.x) - work.first_rider;
    if (output >= 0) return ride(work, output, shared);
    fetch_norm_weights(work, shared);
  }
  const Tile tile = my_tile<F>(work);
  Ring<F> ring(work, tile, shared);
  cuda::begin_work();
  ring.start(work, tile);
  if constexpr (F::kMade) make_rows<F>(work, tile, shared);
  const Terms terms = load_terms<F>(work, tile, place_of<F>(work, tile, tile.thread));
  const int lane = ring.feed.lane;
  const int g = lane / 4;
  const LaneX<F> x(work, tile, lane, shared);
  const bool asymmetric = work.a.products[0].w.zeros != nullptr;
  float sums[F::kPanels][F::kTiles][4] = {};
  uint32_t offsets[F::kPanels][2];  // with one group
  if constexpr (F::kRuns == 0 && F::kBits != 16) {
    const int8_t* const zeros = work.a.products[tile.product].w.zeros;
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      const int64_t output = static_cast<int64_t>(panel_to_read(tile, p)) * kPanel + g;
      offsets[p][0] = offset_of<F::kBits>(asymmetric ? zeros[output] : 0);
      offsets[p][1] = offset_of<F::kBits>(asymmetric ? zeros[output + 8] : 0);
    }
  }
  ring.run(work, tile, [&](const uint8_t* stage, int block) {
    const Pieces<F> pieces = x.of(stage, block);
    Words words[F::kPanels];
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) words[p] = load_words(stage + p * kBlockBytes, lane);
    if constexpr (F::kRuns == 0) {
      multiply_pieces<F, 16 / F::kBits>(pieces, 0, words, offsets, sums);
    } else if constexpr (F::kMade && F::kBits == 4 && F::kRuns == 1) {
      const auto& made = *reinterpret_cast<const MadeRows*>(shared);
      multiply_run<F>(stage, lane, pieces, asymmetric, made.part_sums[0] + block, tile.rows - 1,
                      words, sums);
    } else {
      multiply_groups<F>(stage, g, pieces, asymmetric, words, sums);
    }
  });
  reduce<F>(work, tile, ring, shared, terms, sums, [](float sum, const Terms& of) {
    return F::kRuns == 0 ? __fmaf_rn(sum, of.scale, of.addend) : sum + of.addend;
  });
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_quant_matmul_a16(const aquatint::kernels::QuantMatmulCudaArgs* args,
                                              const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0 || args->count == 0) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  const bool found = dispatch<2>(*args, launch->multiprocessors, [&](auto form) {
    using F = decltype(form);
    error = start<F>(product_a16<F>, *args, *launch);
  });
  return found ? error : start_generic(*args, *launch);
}
