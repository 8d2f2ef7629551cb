// Rounding to nearest on a GPU. A warp, or a block when it is long, takes one group of a row: it
// reads the group once for the range, from which every thread makes the grid, and again, from
// cache, to round. Operations and their order are those of reference.cc, each rounded on its own,
// so results have the bits of the CPU's.
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "device/cuda_launch.h"
#include "kernels/cuda_host.cuh"
#include "kernels/round_nearest/cuda_args.h"

namespace aquatint::kernels {
namespace {

constexpr int kWarp = 32;
constexpr int kBlockWarps = 8;
constexpr int kThreads = kWarp * kBlockWarps;
constexpr int64_t kLongGroup = 1024;         // from here on a block takes it, not a warp
constexpr int64_t kBlocksPerProcessor = 64;  // beyond that, blocks take several groups
constexpr float kSmallestScale = 1e-30f;

struct F32 {
  using Element = float;
  static constexpr int kVector = 4;  // elements in 16 bytes
  static __device__ float value(float x) { return x; }
};

struct F16 {
  using Element = uint16_t;
  static constexpr int kVector = 8;
  static __device__ float value(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
};

struct BF16 {
  using Element = uint16_t;
  static constexpr int kVector = 8;
  static __device__ float value(uint16_t bits) {
    return __uint_as_float(static_cast<uint32_t>(bits) << 16);
  }
};

// N elements that are loaded or stored at once.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T element[N];
};

// What lies furthest below and above zero, as the bits of magnitudes: those order like integers,
// whose maximum does not depend on the order in which threads come.
struct Extremes {
  int low = 0, high = 0;
};

template <typename Type, int N>
__device__ Extremes extremes_of(const typename Type::Element* w, int64_t n, int64_t first,
                                int64_t step) {
  float low = 0, high = 0;
  for (int64_t i = first * N; i < n; i += step * N) {
    const auto pack = *reinterpret_cast<const Pack<typename Type::Element, N>*>(w + i);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float value = Type::value(pack.element[j]);
      low = -value > low ? -value : low;
      high = value > high ? value : high;
    }
  }
  return {__float_as_int(low), __float_as_int(high)};
}

// Over the kWarps warps that work on the same group: one, or all of the block.
template <int kWarps>
__device__ Extremes combine(Extremes mine, Extremes* scratch) {
  Extremes all = {__reduce_max_sync(~0u, mine.low), __reduce_max_sync(~0u, mine.high)};
  if (kWarps == 1) return all;
  __syncthreads();  // the scratch of an earlier group is read
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = all;
  __syncthreads();
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    all.low = max(all.low, scratch[w].low);
    all.high = max(all.high, scratch[w].high);
  }
  return all;
}

struct Grid {
  float scale = 1;
  int zero_point = 0;
};

// The value that the type of the scales can hold nearest to one; rounded up among the coarse steps
// below the normal numbers of float16.
__device__ float representable(double scale, StoredFloat type) {
  const float value = __double2float_rn(scale);
  if (type == StoredFloat::kBF16) {
    const uint32_t bits = __float_as_uint(value);
    return __uint_as_float((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
  }
  if (type != StoredFloat::kF16) return value;
  constexpr float kSmallestNormal = 0x1p-14f, kStep = 0x1p-24f, kStepsPerOne = 0x1p24f;
  if (value < kSmallestNormal) return ceilf(value * kStepsPerOne) * kStep;  // exact products
  return __half2float(__float2half_rn(value));
}

__device__ Grid grid_for(const RoundNearestCudaArgs& a, Extremes extremes) {
  const double below = __int_as_float(extremes.low), above = __int_as_float(extremes.high);
  const bool symmetric = a.zero_points == nullptr;
  const double width = symmetric ? 2.0 * (below > above ? below : above) : __dadd_rn(above, below);
  Grid grid;
  grid.scale = representable(__ddiv_rn(width, (1 << a.bits) - 1), a.scale_type);
  if (!(grid.scale > kSmallestScale)) grid.scale = 1.0f;
  if (symmetric) return grid;
  const int lowest = -(1 << (a.bits - 1)), highest = -lowest - 1;
  const double zero = rint(__dadd_rn(lowest, __ddiv_rn(below, grid.scale)));
  grid.zero_point = zero > highest ? highest : static_cast<int>(zero);  // never below the lowest
  return grid;
}

template <typename Type, int N>
__device__ void round_values(const RoundNearestCudaArgs& a, const typename Type::Element* w,
                             int64_t n, const Grid& grid, int8_t* q, int64_t first, int64_t step) {
  constexpr float kRounder = 12582912.0f;  // see reference.cc
  const int lowest = -(1 << (a.bits - 1)), highest = -lowest - 1;
  const int offset = grid.zero_point - __float_as_int(kRounder);
  const auto lo = static_cast<float>(lowest - grid.zero_point);
  const auto hi = static_cast<float>(highest - grid.zero_point);
  for (int64_t i = first * N; i < n; i += step * N) {
    const auto pack = *reinterpret_cast<const Pack<typename Type::Element, N>*>(w + i);
    Pack<int8_t, N> out;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      float value = __fdiv_rn(Type::value(pack.element[j]), grid.scale);
      value = value < lo ? lo : value;
      value = value > hi ? hi : value;
      out.element[j] = static_cast<int8_t>(__float_as_int(__fadd_rn(value, kRounder)) + offset);
    }
    *reinterpret_cast<Pack<int8_t, N>*>(q + i) = out;
  }
}

// Groups by kWarps warps each. With a.extremes the rows are the groups and their range is there.
template <typename Type, int N, int kWarps>
__global__ void __launch_bounds__(kThreads) round_groups(RoundNearestCudaArgs a) {
  __shared__ Extremes scratch[kBlockWarps];
  constexpr int kGroupThreads = kWarps * kWarp, kGroupsPerBlock = kBlockWarps / kWarps;
  const int64_t thread = threadIdx.x % kGroupThreads;
  const int64_t all = a.rows * a.groups, stride = static_cast<int64_t>(gridDim.x) * kGroupsPerBlock;
  // Threads of a group, and of a block that has one group at a time, leave this loop together.
  for (int64_t index =
           static_cast<int64_t>(blockIdx.x) * kGroupsPerBlock + threadIdx.x / kGroupThreads;
       index < all; index += stride) {
    const int64_t row = index / a.groups, first = index % a.groups * a.group;
    const int64_t length = min(a.group, a.columns - first), at = row * a.columns + first;
    const auto* w = static_cast<const typename Type::Element*>(a.weights) + at;
    Extremes extremes;
    if (a.extremes != nullptr) {
      extremes = {a.extremes[0], a.extremes[1]};
    } else {
      extremes = combine<kWarps>(extremes_of<Type, N>(w, length, thread, kGroupThreads), scratch);
    }
    const Grid grid = grid_for(a, extremes);
    if (thread == 0 && (a.extremes == nullptr || index == 0)) {
      a.scales[index] = grid.scale;
      if (a.zero_points != nullptr) a.zero_points[index] = static_cast<int8_t>(grid.zero_point);
    }
    round_values<Type, N>(a, w, length, grid, a.values + at, thread, kGroupThreads);
  }
}

// The range of all values, added to what a.extremes holds.
template <typename Type, int N>
__global__ void __launch_bounds__(kThreads) find_extremes(RoundNearestCudaArgs a) {
  __shared__ Extremes scratch[kBlockWarps];
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const Extremes mine =
      extremes_of<Type, N>(static_cast<const typename Type::Element*>(a.weights),
                           a.rows * a.columns, thread, static_cast<int64_t>(gridDim.x) * kThreads);
  const Extremes all = combine<kBlockWarps>(mine, scratch);
  if (threadIdx.x != 0) return;
  atomicMax(a.extremes, all.low);
  atomicMax(a.extremes + 1, all.high);
}

// Blocks for `parts` pieces of work, of which a block has one at a time.
unsigned blocks_for(int64_t parts, const CudaLaunch& launch) {
  const int64_t most = kBlocksPerProcessor * launch.multiprocessors;
  return static_cast<unsigned>(parts < most ? parts : most);
}

template <typename Type, int N>
cudaError_t run(const RoundNearestCudaArgs& a, const CudaLaunch& launch) {
  const auto stream = static_cast<cudaStream_t>(launch.stream);
  if (a.extremes != nullptr) {
    const cudaError_t error = cudaMemsetAsync(a.extremes, 0, 2 * sizeof(int32_t), stream);
    if (error != cudaSuccess) return error;
    const int64_t parts = (a.rows * a.columns + kThreads * N - 1) / (kThreads * N);
    find_extremes<Type, N><<<blocks_for(parts, launch), kThreads, 0, stream>>>(a);
  }
  const int64_t groups = a.rows * a.groups;
  if (a.group >= kLongGroup && a.columns >= kLongGroup) {
    round_groups<Type, N, kBlockWarps><<<blocks_for(groups, launch), kThreads, 0, stream>>>(a);
  } else {
    const int64_t blocks = (groups + kBlockWarps - 1) / kBlockWarps;
    round_groups<Type, N, 1><<<blocks_for(blocks, launch), kThreads, 0, stream>>>(a);
  }
  return cudaGetLastError();
}

template <typename Type>
cudaError_t choose_vectors(const RoundNearestCudaArgs& a, const CudaLaunch& launch) {
  constexpr int kVector = Type::kVector;
  const bool vectors = a.columns % kVector == 0 && (a.groups == 1 || a.group % kVector == 0) &&
                       cuda::aligned16(a.weights) &&
                       reinterpret_cast<uintptr_t>(a.values) % kVector == 0;
  return vectors ? run<Type, kVector>(a, launch) : run<Type, 1>(a, launch);
}

}  // namespace
}  // namespace aquatint::kernels

extern "C" int aquatint_cuda_round_nearest(const aquatint::kernels::RoundNearestCudaArgs* args,
                                           const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0 || args->columns == 0) return cudaSuccess;
  switch (args->type) {
    case StoredFloat::kF32:
      return choose_vectors<F32>(*args, *launch);
    case StoredFloat::kF16:
      return choose_vectors<F16>(*args, *launch);
    case StoredFloat::kBF16:
      return choose_vectors<BF16>(*args, *launch);
  }
  return cudaErrorInvalidValue;
}
