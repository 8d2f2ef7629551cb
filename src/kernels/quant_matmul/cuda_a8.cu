// Products of int8 activations with packed weights on tensor cores: exact integers within a group.
// 4-bit values are not unpacked to small numbers but stay in the upper half of their bytes, sixteen
// times as large, where they have their sign for free; the sums are shifted back, which is exact.
#include "kernels/quant_matmul/cuda_generic.cuh"
#include "kernels/quant_matmul/cuda_made_rows.cuh"
#include "kernels/quant_matmul/cuda_start.cuh"

namespace aquatint::kernels {
namespace {

// Sixteen values of two outputs, g and g + 8, as a fragment of the left operand.
template <int kBits>
__device__ __forceinline__ void load_fragment(const uint32_t (&low)[4], const uint32_t (&high)[4],
                                              int step, uint32_t (&a)[4]) {
  if constexpr (kBits == 4) {
    constexpr uint32_t kSigns = 0x80808080u, kUpper = 0xf0f0f0f0u;
    a[0] = xor_and<kSigns, kUpper>(low[step] << 4);  // columns 0, 4, 1, 5
    a[1] = xor_and<kSigns, kUpper>(high[step] << 4);
    a[2] = xor_and<kSigns, kUpper>(low[step]);  // columns 2, 6, 3, 7
    a[3] = xor_and<kSigns, kUpper>(high[step]);
  } else {
    a[0] = low[2 * step];
    a[1] = high[2 * step];
    a[2] = low[2 * step + 1];
    a[3] = high[2 * step + 1];
  }
}

struct Pair {
  uint32_t b0, b1;
};

// The activations that step meets, from a lane's first, in the order of its fragment.
template <typename F>
__device__ __forceinline__ Pair load_x(const uint8_t* x) {
  const uint2 eight = *reinterpret_cast<const uint2*>(x);
  if constexpr (F::kBits == 8) return {eight.x, eight.y};
  return {__byte_perm(eight.x, eight.y, 0x5140), __byte_perm(eight.x, eight.y, 0x7362)};
}

// d += the products of steps first .. first + kCount - 1 of a block of columns.
template <typename F, int kCount>
__device__ __forceinline__ void multiply_steps(const uint8_t* stage, int lane,
                                               const Pieces<F>& x, int first,
                                               int (&d)[F::kPanels][F::kTiles][4]) {
#pragma unroll
  for (int step = first; step < first + kCount; ++step) {
    Pair b[F::kTiles];
#pragma unroll
    for (int tile = 0; tile < F::kTiles; ++tile) {
      b[tile] = load_x<F>(x.first[tile] + step * x.step);
    }
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      const uint8_t* at = stage + p * kBlockBytes + lane * 16;
      const uint4 l = *reinterpret_cast<const uint4*>(at);
      const uint4 h = *reinterpret_cast<const uint4*>(at + kBlockBytes / 2);
      const uint32_t low[4] = {l.x, l.y, l.z, l.w}, high[4] = {h.x, h.y, h.z, h.w};
      uint32_t a[4];
      load_fragment<F::kBits>(low, high, step, a);
#pragma unroll
      for (int tile = 0; tile < F::kTiles; ++tile) mma_s8(d[p][tile], a, b[tile].b0, b[tile].b1);
    }
  }
}

template <int kBits>
__device__ __forceinline__ int unshifted(int sum) {
  return kBits == 4 ? sum >> 4 : sum;
}

// One block of columns whose groups have scales of their own.
template <typename F>
__device__ __forceinline__ void multiply_groups(const uint8_t* stage, int lane,
                                                const Pieces<F>& x, bool asymmetric,
                                                float (&sums)[F::kPanels][F::kTiles][4]) {
  constexpr int kCount = (F::kBits == 4 ? 4 : 2) / F::kRuns;
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int run = 0; run < F::kRuns; ++run) {
    int d[F::kPanels][F::kTiles][4] = {};
    multiply_steps<F, kCount>(stage, lane, x, run * kCount, d);
    const auto* x_sums = reinterpret_cast<const int*>(stage + F::kSumsAt) + run * F::kTiles * 8;
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      const int at = (p * F::kRuns + run) * kPanel + g;
      const auto* scales = reinterpret_cast<const float*>(stage + F::kScalesAt) + at;
      const auto* zeros = reinterpret_cast<const int8_t*>(stage + F::kZerosAt) + at;
#pragma unroll
      for (int tile = 0; tile < F::kTiles; ++tile) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          int dot = unshifted<F::kBits>(d[p][tile][i]);
          // Sums of rows that do not exist are whatever is there, and so are their products.
          if (asymmetric) dot -= zeros[i / 2 * 8] * x_sums[tile * 8 + 2 * t + i % 2];
          sums[p][tile][i] =
              __fmaf_rn(static_cast<float>(dot), scales[i / 2 * 8], sums[p][tile][i]);
        }
      }
    }
  }
}

template <typename F>
__global__ void __launch_bounds__(kMostWarps* kLanes, F::kMade ? 2 : 1)
    product_a8(const __grid_constant__ Work work) {
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
  const LaneX<F> x(work, tile, lane, shared);
  if constexpr (F::kRuns == 0) {
    int sums[F::kPanels][F::kTiles][4] = {};
    ring.run(work, tile, [&](const uint8_t* stage, int block) {
      multiply_steps<F, F::kBits == 4 ? 4 : 2>(stage, lane, x.of(stage, block), 0, sums);
    });
    reduce<F>(work, tile, ring, shared, terms, sums, [](int sum, const Terms& of) {
      const int dot = unshifted<F::kBits>(sum) - of.correction;
      return __fmaf_rn(__fmul_rn(static_cast<float>(dot), of.scale), of.x_scale, of.addend);
    });
  } else {
    const bool asymmetric = work.a.products[0].w.zeros != nullptr;
    float sums[F::kPanels][F::kTiles][4] = {};
    ring.run(work, tile, [&](const uint8_t* stage, int block) {
      multiply_groups<F>(stage, lane, x.of(stage, block), asymmetric, sums);
    });
    reduce<F>(work, tile, ring, shared, terms, sums,
              [](float sum, const Terms& of) { return __fmaf_rn(sum, of.x_scale, of.addend); });
  }
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_quant_matmul_a8(const aquatint::kernels::QuantMatmulCudaArgs* args,
                                             const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0 || args->count == 0) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  const bool found = dispatch<1>(*args, launch->multiprocessors, [&](auto form) {
    using F = decltype(form);
    error = start<F>(product_a8<F>, *args, *launch);
  });
  return found ? error : start_generic(*args, *launch);
}
