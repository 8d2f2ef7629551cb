// Products of many rows of int8 activations with int8 weights of one scale per output, finished in
// the kernel: no int32 sum reaches the GPU's memory. For compute capability 9.0a, whose tensor
// cores read both operands from shared memory. docs/kernels/quant_matmul_cuda.md, "Tiles".
//
// A cluster of two blocks of threads makes tiles of 256 x 256 results, each block 128 rows of them.
// One thread of a block fetches operands, 128 columns at a time, into a ring of four stages: its
// own rows, and half of the weights for both blocks. Two warpgroups multiply 64 rows each, with the
// sums in registers, and write results through shared memory to the copy engine, which works on
// while the next tile begins.
#include "device/cuda_launch.h"
#include "kernels/cuda_host.cuh"
#include "kernels/quant_matmul/cuda_args.h"
#include "kernels/quant_matmul/cuda_hopper.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900 && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "compile for compute capability 9.0a, not 9.0"
#endif

namespace aquatint::kernels {
namespace {

constexpr int kTileRows = 128;  // of a block
constexpr int kTileOutputs = 256;
constexpr int kTileColumns = 128;  // bytes of a stage's rows
constexpr int kStages = 4;
constexpr int kBlocks = 2;  // of a cluster, one below the other
constexpr int kWarpgroup = 128;
constexpr int kMultipliers = 2;  // warpgroups
constexpr int kTileThreads = (1 + kMultipliers) * kWarpgroup;
constexpr int kPanelBytes = 64 * 128;  // 64 rows of results, 128 bytes of each

struct Stage {
  int8_t x[kTileRows * kTileColumns];
  int8_t w[kTileOutputs * kTileColumns];
};

struct TileShared {
  Stage stages[kStages];
  uint8_t panels[kMultipliers][2][kPanelBytes];  // results on their way out
  float w_scales[kMultipliers][kTileOutputs];
  uint64_t full[kStages], empty[kStages];
};

struct TileProduct {
  const float* w_scales;
  const int8_t* zeros;
  const float* bias;
  int outputs, first_tile;  // of all products' tiles of outputs
  bool bf16, accumulate;
};

struct TileArgs {
  CUtensorMap x, w[kMostProducts], y[kMostProducts];
  TileProduct products[kMostProducts];
  const float* x_scales;
  const int32_t* x_sums;
  int rows, stages;  // of the columns
  int count, output_tiles, row_pairs;
};

struct Tile {
  int product, row, output;  // first row of the block, first output
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Registers of a thread that fetches and of one that multiplies: all that a multiprocessor has.
constexpr int kFetchRegisters = 40, kMultiplyRegisters = 232;
// Tiles that run at the same time are of this many pairs of rows of tiles, so that what they share
// stays in the L2 cache.
constexpr int kPairsTogether = 8;

// Tile n of a cluster: over a few pairs of rows of tiles, then the outputs, then the next pairs.
__device__ __forceinline__ Tile tile_at(const TileArgs& a, int n, int rank) {
  const int band = n / (kPairsTogether * a.output_tiles);
  const int rest = n - band * kPairsTogether * a.output_tiles;
  const int first_pair = band * kPairsTogether;
  const int pairs = min(kPairsTogether, a.row_pairs - first_pair);
  const int column = rest / pairs;
  Tile tile;
  tile.row = ((first_pair + rest % pairs) * kBlocks + rank) * kTileRows;
  tile.product = 0;
  for (int p = 1; p < a.count; ++p) {
    if (column >= a.products[p].first_tile) tile.product = p;
  }
  tile.output = (column - a.products[tile.product].first_tile) * kTileOutputs;
  return tile;
}

// The place in the ring, and whose turn it is there.
struct Turn {
  int stage = 0, parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// One thread: keeps the ring full.
__device__ __forceinline__ void fetch(const TileArgs& a, TileShared& shared, int rank, int tiles,
                                      int first, int step) {
  constexpr int kShare = kTileOutputs / kBlocks;
  Turn turn;
  for (int n = first; n < tiles; n += step) {
    const Tile tile = tile_at(a, n, rank);
    for (int k = 0; k < a.stages; ++k, turn.next()) {
      Stage& stage = shared.stages[turn.stage];
      uint64_t* full = &shared.full[turn.stage];
      hopper::wait_barrier(&shared.empty[turn.stage], turn.parity ^ 1);
      hopper::arrive_expecting(full, sizeof(Stage));
      hopper::load_box(stage.x, a.x, k * kTileColumns, tile.row, full);
      hopper::load_box_for((1 << kBlocks) - 1, stage.w + rank * kShare * kTileColumns,
                           a.w[tile.product], k * kTileColumns, tile.output + rank * kShare, full);
    }
  }
}

// What a warpgroup does with its sums: scales them and sends them away, in panels of 64 rows and
// 128 bytes. There is room for two.
struct Sender {
  const TileArgs& a;
  uint8_t (*panels)[kPanelBytes];
  float* w_scales;  // of the tile's outputs, in shared memory
  int group, warp, lane, thread;
  int turn = 0;
  // Loaded while the products are under way: scales of the thread's two rows, 8 apart, and of two
  // outputs.
  float x_scales[2];
  float2 two_scales;

  __device__ __forceinline__ int first_row(const Tile& tile) const { return tile.row + group * 64; }
  __device__ __forceinline__ int row() const { return warp * 16 + lane / 4; }

  __device__ __forceinline__ void prepare(const Tile& tile) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int m = first_row(tile) + row() + 8 * i;
      x_scales[i] = m < a.rows ? __ldg(a.x_scales + m) : 0.0f;
    }
    // Scales are padded to a multiple of 16.
    const TileProduct& product = a.products[tile.product];
    const int n = tile.output + 2 * thread;
    two_scales = n < product.outputs ? __ldg(reinterpret_cast<const float2*>(product.w_scales + n))
                                     : make_float2(0.0f, 0.0f);
  }

  __device__ __forceinline__ void send(const int (&sums)[128], const Tile& tile) {
    const TileProduct& product = a.products[tile.product];
    reinterpret_cast<float2*>(w_scales)[thread] = two_scales;  // all have read the last tile's
    const bool plain = product.bias == nullptr && product.zeros == nullptr;
    if (product.bf16) {
      plain ? send_panels<true, true>(sums, tile) : send_panels<true, false>(sums, tile);
    } else {
      plain ? send_panels<false, true>(sums, tile) : send_panels<false, false>(sums, tile);
    }
  }

  template <bool kBf16, bool kPlain>
  __device__ __forceinline__ void send_panels(const int (&sums)[128], const Tile& tile) {
    constexpr int kPanelColumns = kBf16 ? 64 : 32;
    const TileProduct& product = a.products[tile.product];
    const CUtensorMap& map = a.y[tile.product];
    int x_sums[2] = {};
    if constexpr (!kPlain) {
      for (int i = 0; i < 2; ++i) {
        const int m = first_row(tile) + row() + 8 * i;
        if (product.zeros != nullptr && m < a.rows) x_sums[i] = __ldg(a.x_sums + m);
      }
    }
#pragma unroll
    for (int p = 0; p < kTileOutputs / kPanelColumns; ++p) {
      const int first = tile.output + p * kPanelColumns;
      if (first >= product.outputs) break;
      uint8_t* panel = panels[turn];
      if (thread == 0) hopper::wait_stores_read<1>();
      hopper::synchronize_warpgroup(1 + group);
#pragma unroll
      for (int g = 0; g < kPanelColumns / 8; ++g) {
        const int column = p * kPanelColumns + 8 * g;
        float values[4];
        finish_four<kPlain>(values, product, tile.output, column + 2 * (lane % 4),
                            &sums[column / 2], x_sums);
        place<kBf16>(panel, g, values);
      }
      hopper::fence_shared_writes();
      hopper::synchronize_warpgroup(1 + group);
      if (thread == 0) {
        if (product.accumulate) {
          hopper::add_box(map, first, first_row(tile), panel);
        } else {
          hopper::store_box(map, first, first_row(tile), panel);
        }
        hopper::commit_stores();
      }
      turn ^= 1;
    }
  }

  // Two neighbouring outputs of two rows, with the bits of quant_matmul_a8's formula.
  template <bool kPlain>
  __device__ __forceinline__ void finish_four(float (&values)[4], const TileProduct& product,
                                              int first_output, int column, const int* sums,
                                              const int (&x_sums)[2]) const {
    const float2 scales = *reinterpret_cast<const float2*>(w_scales + column);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int n = first_output + column + i % 2;
      const float w_scale = i % 2 == 0 ? scales.x : scales.y;
      int sum = sums[i];
      if constexpr (kPlain) {
        values[i] = __fmul_rn(__fmul_rn(static_cast<float>(sum), w_scale), x_scales[i / 2]);
      } else {
        const bool exists = n < product.outputs;
        const float bias = exists && product.bias != nullptr ? __ldg(product.bias + n) : 0.0f;
        if (exists && product.zeros != nullptr) sum -= __ldg(product.zeros + n) * x_sums[i / 2];
        values[i] = __fmaf_rn(__fmul_rn(static_cast<float>(sum), w_scale), x_scales[i / 2], bias);
      }
    }
  }

  // Into a panel as the copy engine expects it: the 16-byte pieces of row r in the order of their
  // number xor r % 8, which for both rows is lane / 4.
  template <bool kBf16>
  __device__ __forceinline__ void place(uint8_t* panel, int g, const float (&values)[4]) const {
    const int t = lane % 4, swizzle = lane / 4;
    if constexpr (kBf16) {
      uint8_t* at = panel + row() * 128 + ((g ^ swizzle) << 4) + t * 4;
      *reinterpret_cast<uint32_t*>(at) = pair(values[0], values[1]);
      *reinterpret_cast<uint32_t*>(at + 8 * 128) = pair(values[2], values[3]);
    } else {
      uint8_t* at = panel + row() * 128 + (((2 * g + t / 2) ^ swizzle) << 4) + t % 2 * 8;
      *reinterpret_cast<float2*>(at) = make_float2(values[0], values[1]);
      *reinterpret_cast<float2*>(at + 8 * 128) = make_float2(values[2], values[3]);
    }
  }

  __device__ __forceinline__ static uint32_t pair(float low, float high) {
    uint32_t both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
  }
};

// A warpgroup: multiplies what comes.
__device__ __forceinline__ void multiply(const TileArgs& a, TileShared& shared, int rank, int tiles,
                                         int first, int step) {
  const int group = static_cast<int>(threadIdx.x) / kWarpgroup - 1;
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
  const int lane = thread % 32;
  Sender sender{a, shared.panels[group], shared.w_scales[group], group, thread / 32, lane, thread};
  Turn turn;
  for (int n = first; n < tiles; n += step) {
    const Tile tile = tile_at(a, n, rank);
    sender.prepare(tile);
    int sums[128];
    int before = -1;  // stage whose products may be under way
    for (int k = 0; k < a.stages; ++k, turn.next()) {
      const Stage& stage = shared.stages[turn.stage];
      hopper::wait_barrier(&shared.full[turn.stage], turn.parity);
      const uint64_t x = hopper::operand_at(stage.x + group * 64 * kTileColumns);
      const uint64_t w = hopper::operand_at(stage.w);
      hopper::begin_products();
#pragma unroll
      for (int i = 0; i < kTileColumns / 32; ++i) {
        hopper::multiply_int8(sums, x + 2 * i, w + 2 * i, k > 0 || i > 0);
      }
      hopper::commit_products();
      hopper::wait_products<1>();
      if (before >= 0 && lane < kBlocks) hopper::arrive_in_block(&shared.empty[before], lane);
      before = turn.stage;
    }
    hopper::wait_products<0>();
    if (lane < kBlocks) hopper::arrive_in_block(&shared.empty[before], lane);
    sender.send(sums, tile);
  }
  if (thread == 0) hopper::wait_stores();
}

#endif

__global__ void __launch_bounds__(kTileThreads, 1) int8_tiles(const __grid_constant__ TileArgs a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) uint8_t memory[];
  auto& shared = *reinterpret_cast<TileShared*>(memory);
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      hopper::init_barrier(&shared.full[s], 1);
      hopper::init_barrier(&shared.empty[s], kBlocks * kMultipliers * kWarpgroup / 32);
    }
    hopper::publish_barriers();
  }
  __syncthreads();
  hopper::synchronize_cluster();
  const int rank = hopper::rank_in_cluster();
  const int tiles = a.row_pairs * a.output_tiles;
  const int first = static_cast<int>(blockIdx.x) / kBlocks;
  const int step = static_cast<int>(gridDim.x) / kBlocks;
  if (threadIdx.x < kWarpgroup) {
    hopper::give_registers<kFetchRegisters>();
    if (threadIdx.x == 0) fetch(a, shared, rank, tiles, first, step);
  } else {
    hopper::take_registers<kMultiplyRegisters>();
    multiply(a, shared, rank, tiles, first, step);
  }
  __syncwarp();
  // The other block may still write here, or arrive.
  hopper::synchronize_cluster();
#endif
}

using Encode = decltype(&cuTensorMapEncodeTiled);

// The driver's function, which the module does not link. Null if it has none.
Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                             12000, cudaEnableDefault, &found);
#else
  const cudaError_t error =
      cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
  if (error != cudaSuccess || found != cudaDriverEntryPointSuccess) return nullptr;
  return reinterpret_cast<Encode>(function);
}

// A row-major matrix [rows, columns] with `stride` bytes from row to row, moved in boxes of
// `box_rows` rows of 128 bytes.
bool describe(CUtensorMap& map, CUtensorMapDataType type, int element, const void* data,
              int64_t rows, int64_t columns, int64_t stride, int box_rows) {
  static const Encode encode = find_encode();
  if (encode == nullptr) return false;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(128 / element),
                            static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[] = {1, 1};
  return encode(&map, type, 2, const_cast<void*>(data), sizes, strides, box, steps,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

bool describe_product(const Int8TilesCudaArgs& args, int i, TileArgs& tiles) {
  const Int8ProductCuda& p = args.products[i];
  const bool bf16 = p.y16 != nullptr;
  const int element = bf16 ? 2 : 4;
  tiles.products[i] = {p.w.scales,         p.w.zeros, p.bias,      static_cast<int>(p.w.outputs),
                       tiles.output_tiles, bf16,      p.accumulate};
  tiles.output_tiles += static_cast<int>((p.w.outputs + kTileOutputs - 1) / kTileOutputs);
  return describe(tiles.w[i], CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, p.w.data, p.w.outputs,
                  p.w.padded_columns, p.w.padded_columns, kTileOutputs / kBlocks) &&
         describe(tiles.y[i],
                  bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
                  element, bf16 ? static_cast<const void*>(p.y16) : p.y, args.rows, p.w.outputs,
                  p.ldy * element, 64);
}

}  // namespace
}  // namespace aquatint::kernels

// REQUIRES: compute capability 9.0; weights of 8 bits and one group; x, weights and results at
// multiples of 16 bytes, and so their rows.
extern "C" int aquatint_cuda_int8_tiles(const aquatint::kernels::Int8TilesCudaArgs* args,
                                        const aquatint::CudaLaunch* launch) noexcept {
  using namespace aquatint::kernels;
  if (args->rows == 0 || args->count == 0) return cudaSuccess;
  if (launch->compute_capability != 90) return cudaErrorNotSupported;
  const int64_t columns = args->products[0].w.padded_columns;
  TileArgs tiles{};
  tiles.x_scales = args->x_scales;
  tiles.x_sums = args->group_sums;
  tiles.rows = static_cast<int>(args->rows);
  tiles.stages = static_cast<int>((columns + kTileColumns - 1) / kTileColumns);
  tiles.count = args->count;
  tiles.row_pairs =
      static_cast<int>((args->rows + kBlocks * kTileRows - 1) / (kBlocks * kTileRows));
  bool described = describe(tiles.x, CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, args->x8, args->rows,
                            columns, args->ldx, kTileRows);
  for (int i = 0; i < args->count; ++i) described = described && describe_product(*args, i, tiles);
  if (!described) return cudaErrorNotSupported;

  if (const cudaError_t error = cuda::allow_shared(int8_tiles, sizeof(TileShared))) return error;
  const int clusters = launch->multiprocessors / kBlocks;
  const int work = tiles.row_pairs * tiles.output_tiles;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {kBlocks, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(kBlocks * (work < clusters ? work : clusters)));
  config.blockDim = dim3(kTileThreads);
  config.dynamicSmemBytes = sizeof(TileShared);
  config.stream = static_cast<cudaStream_t>(launch->stream);
  config.attrs = &cluster;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, int8_tiles, tiles);
}
