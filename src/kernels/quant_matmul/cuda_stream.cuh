// How products with few rows stream packed weights: a block of threads owns one or two panels of 16
// outputs; its warps take turns over the blocks of columns, so that together they read along the
// rows. Each warp keeps a ring of stages in shared memory filled by asynchronous copies, which puts
// kilobytes under way without holding registers, and needs no other warp until the sums of all are
// added, in a fixed order, at the end.
#pragma once

#include <type_traits>

#include "device/cuda_launch.h"
#include "kernels/quant_matmul/cuda_args.h"
#include "kernels/quant_matmul/cuda_ptx.cuh"

namespace aquatint::kernels {
namespace {

constexpr int kLanes = 32;
constexpr int kPanel = 16;
constexpr int kStages = 4;
constexpr int kMostWarps = 16;
constexpr int kRowBytes = 64;                    // of one output in a block of columns
constexpr int kBlockBytes = kRowBytes * kPanel;  // of a panel
constexpr int kSlabRows = 16;                    // rows that a block of threads multiplies
constexpr int kSumStride = 20;                   // floats per row of a panel's sums: no conflicts
constexpr int kSharedBudget = 104 * 1024;  // two blocks of threads per multiprocessor of sm_90

// One compiled form. kRuns is the number of groups met in a block of columns, 1 also for longer
// groups; 0 when a row has one scale.
template <int kBitsOf, int kXBytesOf, int kRunsOf, int kTilesOf, int kPanelsOf>
struct Form {
  static constexpr int kBits = kBitsOf;
  static constexpr int kXBytes = kXBytesOf;
  static constexpr int kRuns = kRunsOf;
  static constexpr int kTiles = kTilesOf;  // of 8 rows of activations
  static constexpr int kPanels = kPanelsOf;
  static constexpr int kColumns = kRowBytes * 8 / kBits;   // in a block
  static constexpr int kPieces = kColumns * kXBytes / 16;  // of 16 bytes in a row of x
  static constexpr int kRunColumns = kColumns / (kRuns > 0 ? kRuns : 1);
  static constexpr int kXRow = kXBytes == 1 && kBits == 4 ? 32 : 64;  // bytes of a row that touch
  using Element = std::conditional_t<kXBytes == 2, uint16_t, uint8_t>;
  // Where the parts of a stage start; the activations come last.
  static constexpr int kScalesAt = kPanels * kBlockBytes;
  static constexpr int kZerosAt = kScalesAt + kPanels * kRuns * kPanel * 4;
  static constexpr int kSumsAt = kZerosAt + kPanels * kRuns * kPanel;
  static constexpr int kXAt = kSumsAt + (kXBytes == 1 ? kRuns * kTiles * 8 * 4 : 0);
};

struct Work {
  QuantMatmulCudaArgs a;
  int blocks = 0;  // of columns
  int panels = 0;
  int x_columns = 0;            // of x that exist
  bool x_aligned = false;       // x is made of whole 16-byte pieces
  uint32_t runs_per_group = 1;  // of kRunColumns
  uint32_t group_magic = 0;     // multiplier in place of a division by runs_per_group
  int stage_bytes = 0;
};

// What a block of threads works on.
struct Tile {
  int panel = 0;
  int64_t row = 0;
  int rows = 0;
};

template <typename F>
__device__ Tile my_tile(const Work& work) {
  Tile tile;
  tile.panel = static_cast<int>(blockIdx.x) * F::kPanels;
  tile.row = static_cast<int64_t>(blockIdx.y) * kSlabRows;
  const int64_t left = work.a.rows - tile.row;
  tile.rows = left < kSlabRows ? static_cast<int>(left) : kSlabRows;
  return tile;
}

// The panel that `p` of a tile reads: past the end, where results are dropped, the last one.
__device__ __forceinline__ int panel_to_read(const Work& work, const Tile& tile, int p) {
  return min(tile.panel + p, work.panels - 1);
}

// Group of a run of columns; runs of padding may have one that does not exist.
__device__ __forceinline__ uint32_t group_of(const Work& work, uint32_t run) {
  return work.runs_per_group == 1 ? run : __umulhi(run, work.group_magic);
}

// Where 16-byte piece `piece` of row 0 of the activations lies in a stage, and how far the next row
// is: such that a warp reads neighbouring bytes at a time (load_x in cuda_a16.cu and cuda_a8.cu).
template <typename F>
__device__ __forceinline__ int piece_offset(int rows, int piece) {
  if constexpr (F::kXBytes == 2) {
    const int part = F::kBits == 4 ? piece / 4 : piece % 2;
    const int t = F::kBits == 4 ? piece % 4 : piece / 2;
    return part * rows * F::kXRow + t * 16;
  } else if constexpr (F::kBits == 4) {
    return piece / 2 * rows * F::kXRow + piece % 2 * 16;
  } else {
    return piece * 16;
  }
}

// Where a lane's next copies come from. All pointers move by whole turns of the warps.
template <typename F>
struct Feed {
  const uint8_t* weights[F::kPanels];
  const float* scales[F::kPanels];  // of the panel, and the lane's quarter of 16; do not move
  const uint8_t* x;                 // the piece `piece` of row `m` of the tile, if there is one
  int block;                        // of columns
  int lane, m, piece;
  int x_to;  // where that piece goes

  __device__ Feed(const Work& work, const Tile& tile, int warp, int lane_of)
      : block(warp), lane(lane_of), m(lane / F::kPieces), piece(lane % F::kPieces) {
    const QuantWeightsCuda& w = work.a.w;
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      const int64_t panel = panel_to_read(work, tile, p);
      weights[p] = F::kBits == 4 ? w.data + (panel * work.blocks + block) * kBlockBytes + lane * 16
                                 : w.data + (panel * kPanel + lane / 4) * w.padded_columns +
                                       block * kRowBytes + lane % 4 * 16;
      scales[p] = w.scales + panel * w.groups * kPanel + lane % 4 * 4;
    }
    const auto* first = F::kXBytes == 2 ? reinterpret_cast<const uint8_t*>(work.a.x16)
                                        : reinterpret_cast<const uint8_t*>(work.a.x8);
    x = first + (tile.row + m) * work.a.ldx * F::kXBytes + block * F::kPieces * 16 + piece * 16;
    x_to = F::kXAt + piece_offset<F>(tile.rows, piece) + m * F::kXRow;
  }

  __device__ __forceinline__ void advance(int warps) {
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      weights[p] += warps * (F::kBits == 4 ? kBlockBytes : kRowBytes);
    }
    x += warps * F::kPieces * 16;
    block += warps;
  }
};

// The activations of rows or pieces that cannot be copied as they are.
template <typename F>
__device__ __forceinline__ void fetch_x_slowly(const Work& work, const Tile& tile,
                                               const Feed<F>& feed, uint8_t* stage) {
  using Element = typename F::Element;
  constexpr int kStep = kLanes / F::kPieces, kElements = 16 / F::kXBytes;
  const int left = work.x_columns - feed.block * F::kColumns - feed.piece * kElements;
#pragma unroll 1
  for (int i = 0; feed.m + i < tile.rows; i += kStep) {
    const auto* from = reinterpret_cast<const Element*>(feed.x) + i * work.a.ldx;
    auto* to = reinterpret_cast<Element*>(stage + feed.x_to + i * F::kXRow);
#pragma unroll 1
    for (int e = 0; e < kElements; ++e) {
      const Element zero = 0;
      to[e] = e < left ? from[e] : zero;
    }
  }
}

template <typename F>
__device__ __forceinline__ void fetch_x(const Work& work, const Tile& tile, const Feed<F>& feed,
                                        uint8_t* stage) {
  constexpr int kStep = kLanes / F::kPieces;  // rows that a warp copies at a time
  if (!work.x_aligned) {
    fetch_x_slowly(work, tile, feed, stage);
    return;
  }
  const int column = feed.block * F::kColumns + feed.piece * (16 / F::kXBytes);
  const bool zeros = column >= work.x_columns;
#pragma unroll
  for (int i = 0; i < F::kTiles * 8; i += kStep) {
    if (i >= tile.rows) break;  // for all lanes
    if (feed.m + i < tile.rows) {
      copy_async16(stage + feed.x_to + i * F::kXRow, feed.x + i * work.a.ldx * F::kXBytes, zeros);
    }
  }
}

template <typename F>
__device__ __forceinline__ void fetch_groups(const Work& work, const Tile& tile,
                                             const Feed<F>& feed, uint8_t* stage) {
  const QuantWeightsCuda& w = work.a.w;
  const auto groups = static_cast<uint32_t>(w.groups);
  const int lane = feed.lane;
  const auto first_run = static_cast<uint32_t>(feed.block * F::kRuns);
  if (lane < F::kRuns * 4) {
    const uint32_t group = group_of(work, first_run + lane / 4);
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      copy_async16(stage + F::kScalesAt + p * F::kRuns * 64 + lane * 16,
                   feed.scales[p] + group * kPanel, group >= groups);
    }
  }
  if (w.zeros == nullptr) return;
  if (lane < F::kRuns) {
    const uint32_t group = group_of(work, first_run + lane);
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      const int64_t at = (panel_to_read(work, tile, p) * w.groups + group) * kPanel;
      copy_async16(stage + F::kZerosAt + (p * F::kRuns + lane) * kPanel, w.zeros + at,
                   group >= groups);
    }
  }
  if constexpr (F::kXBytes == 1) {
    for (int i = lane; i < F::kRuns * kSlabRows; i += kLanes) {
      const int run = i / kSlabRows, m = i % kSlabRows;
      if (m >= tile.rows) continue;
      const uint32_t group = group_of(work, first_run + run);
      // A group's sum counts once, with its first run.
      const bool counts = group < groups && group * work.runs_per_group == first_run + run;
      copy_async4(stage + F::kSumsAt + (run * F::kTiles * 8 + m) * 4,
                  work.a.group_sums + (tile.row + m) * w.groups + group, !counts);
    }
  }
}

// Starts the copies of a block of columns. A lane's weights come to where it reads them.
template <typename F>
__device__ __forceinline__ void fetch(const Work& work, const Tile& tile, const Feed<F>& feed,
                                      uint8_t* stage) {
#pragma unroll
  for (int p = 0; p < F::kPanels; ++p) {
    uint8_t* to = stage + p * kBlockBytes + feed.lane * 16;
    const uint8_t* from = feed.weights[p];
    copy_async_weights(to, from);
    copy_async_weights(to + kBlockBytes / 2,
                       from + (F::kBits == 4 ? kBlockBytes / 2 : 8 * work.a.w.padded_columns));
  }
  if constexpr (F::kRuns > 0) fetch_groups<F>(work, tile, feed, stage);
  fetch_x<F>(work, tile, feed, stage);
}

// What a lane reads of a stage's activations: bytes from its first piece in row g of each tile. A
// lane whose row does not exist reads another: its column of the product is nobody's.
template <typename F>
struct LaneX {
  int offsets[F::kTiles];

  __device__ LaneX(const Tile& tile, int lane) {
    constexpr int kChunk = F::kXRow / 4;
#pragma unroll
    for (int i = 0; i < F::kTiles; ++i) {
      const int row = min(lane / 4 + 8 * i, tile.rows - 1);
      offsets[i] = F::kXAt + row * F::kXRow + lane % 4 * kChunk;
    }
  }
};

// Calls multiply(stage) for each of this warp's blocks of columns.
template <typename F, typename Multiply>
__device__ __forceinline__ void stream_blocks(const Work& work, const Tile& tile, uint8_t* shared,
                                              const Multiply& multiply) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const int warps = static_cast<int>(blockDim.x) / kLanes;
  const int bytes = work.stage_bytes;
  uint8_t* ring = shared + warp * kStages * bytes;
  Feed<F> feed(work, tile, warp, lane);
#pragma unroll 1
  for (int i = 0; i < kStages - 1; ++i) {
    if (feed.block < work.blocks) fetch<F>(work, tile, feed, ring + i * bytes);
    copy_async_commit();
    feed.advance(warps);
  }
  int now = 0, before = (kStages - 1) * bytes;  // stages, in bytes
#pragma unroll 1
  for (int block = warp; block < work.blocks; block += warps) {
    copy_async_wait<kStages - 2>();
    __syncwarp();  // all lanes' copies are here, and the stage before this one has been read
    if (feed.block < work.blocks) fetch<F>(work, tile, feed, ring + before);
    copy_async_commit();
    feed.advance(warps);
    __syncwarp();  // whatever the lanes copied, they multiply together
    multiply(ring + now);
    before = now;
    now = now + bytes < kStages * bytes ? now + bytes : 0;
  }
}

// Adds the sums of all warps and calls write(panel, output of the panel, row of the tile, sum).
template <typename F, typename Sum, typename Write>
__device__ __forceinline__ void reduce(const Work& work, const Tile& tile, uint8_t* shared,
                                       const Sum (&sums)[F::kPanels][F::kTiles][4],
                                       const Write& write) {
  constexpr int kPanelSums = F::kTiles * 8 * kSumStride;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const int warps = static_cast<int>(blockDim.x) / kLanes;
  const int g = lane / 4, t = lane % 4;
  copy_async_wait<0>();
  __syncthreads();  // the rings are free
  Sum* all = reinterpret_cast<Sum*>(shared);
#pragma unroll
  for (int p = 0; p < F::kPanels; ++p) {
#pragma unroll
    for (int tile8 = 0; tile8 < F::kTiles; ++tile8) {
      Sum* mine = all + (warp * F::kPanels + p) * kPanelSums + (tile8 * 8 + 2 * t) * kSumStride + g;
      mine[0] = sums[p][tile8][0];
      mine[kSumStride] = sums[p][tile8][1];
      mine[8] = sums[p][tile8][2];
      mine[kSumStride + 8] = sums[p][tile8][3];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < F::kPanels * tile.rows * kPanel; i += blockDim.x) {
    const int n = i % kPanel, m = i / kPanel % tile.rows, p = i / kPanel / tile.rows;
    const Sum* of = all + p * kPanelSums + m * kSumStride + n;
    Sum sum = 0;
    for (int w = 0; w < warps; ++w) sum += of[w * F::kPanels * kPanelSums];
    const int64_t output = static_cast<int64_t>(tile.panel + p) * kPanel + n;
    if (output < work.a.w.outputs) write(output, m, sum);
  }
}

// Warps of a block of threads. Where all blocks fit on the device at once, each should ask for all
// of its bytes at once; otherwise a warp should have enough to do to be worth starting.
inline int choose_warps(const Work& work, int64_t thread_blocks, int multiprocessors) {
  const int per_warp = thread_blocks <= multiprocessors      ? 1
                       : thread_blocks < 4 * multiprocessors ? 2
                                                             : 4;
  int warps = 1;
  while (warps < kMostWarps && warps * per_warp < work.blocks) warps *= 2;
  while (warps > 1 && warps * kStages * work.stage_bytes > kSharedBudget) warps /= 2;
  return warps;
}

inline bool aligned16(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

template <typename F>
Work prepare(const QuantMatmulCudaArgs& a) {
  Work work;
  work.a = a;
  work.blocks = static_cast<int>(a.w.padded_columns / F::kColumns);
  work.panels = static_cast<int>((a.w.outputs + kPanel - 1) / kPanel);
  const int64_t columns = F::kXBytes == 2 ? a.w.columns : a.ldx;
  work.x_columns = static_cast<int>(columns < a.w.padded_columns ? columns : a.w.padded_columns);
  work.x_aligned = aligned16(F::kXBytes == 2 ? static_cast<const void*>(a.x16) : a.x8) &&
                   a.ldx * F::kXBytes % 16 == 0 && work.x_columns * F::kXBytes % 16 == 0;
  work.runs_per_group = static_cast<uint32_t>(a.w.group_size / F::kRunColumns);
  // floor(run / d) = run * (floor(2^32 / d) + 1) >> 32 while run * d < 2^32, and d > 1.
  work.group_magic = work.runs_per_group > 1
                         ? static_cast<uint32_t>((uint64_t{1} << 32) / work.runs_per_group + 1)
                         : 0;
  const int rows = static_cast<int>(a.rows < kSlabRows ? a.rows : kSlabRows);
  work.stage_bytes = F::kXAt + rows * F::kPieces * 16;
  return work;
}

// Sends the product to the compiled form that fits it: run<F>(). False if none does.
template <int kBits, int kXBytes, int kRuns, typename Run>
bool dispatch_rows(const QuantMatmulCudaArgs& a, int multiprocessors, const Run& run) {
  const int64_t panels = (a.w.outputs + kPanel - 1) / kPanel;
  const int64_t slabs = (a.rows + kSlabRows - 1) / kSlabRows;
  if (a.rows <= 8) {
    run(Form<kBits, kXBytes, kRuns, 1, 1>{});
  } else if (panels * slabs < 2 * multiprocessors) {
    run(Form<kBits, kXBytes, kRuns, 2, 1>{});
  } else {
    run(Form<kBits, kXBytes, kRuns, 2, 2>{});
  }
  return true;
}

template <int kXBytes, typename Run>
bool dispatch(const QuantMatmulCudaArgs& a, int multiprocessors, const Run& run) {
  const bool one = a.w.groups == 1;
  const int64_t size = a.w.group_size;
  if (a.w.bits == 8) {
    if (one) return dispatch_rows<8, kXBytes, 0>(a, multiprocessors, run);
    if (size % 64 == 0) return dispatch_rows<8, kXBytes, 1>(a, multiprocessors, run);
    return false;
  }
  if (one) return dispatch_rows<4, kXBytes, 0>(a, multiprocessors, run);
  if (size % 128 == 0) return dispatch_rows<4, kXBytes, 1>(a, multiprocessors, run);
  if (size % 64 == 0) return dispatch_rows<4, kXBytes, 2>(a, multiprocessors, run);
  if (size % 32 == 0) return dispatch_rows<4, kXBytes, 4>(a, multiprocessors, run);
  return false;
}

// Starts `kernel`, compiled for the form F, for all panels and rows.
template <typename F>
cudaError_t start(void (*kernel)(Work), const QuantMatmulCudaArgs& a, const CudaLaunch& launch) {
  const Work work = prepare<F>(a);
  const int64_t slabs = (a.rows + kSlabRows - 1) / kSlabRows;
  const int64_t columns = (work.panels + F::kPanels - 1) / F::kPanels;
  const int warps = choose_warps(work, columns * slabs, launch.multiprocessors);
  const int ring = warps * kStages * work.stage_bytes;
  const int sums = warps * F::kPanels * F::kTiles * 8 * kSumStride * 4;
  const int shared = ring > sums ? ring : sums;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  if (error != cudaSuccess) return error;
  const dim3 grid(static_cast<unsigned>(columns), static_cast<unsigned>(slabs));
  kernel<<<grid, warps * kLanes, shared, static_cast<cudaStream_t>(launch.stream)>>>(work);
  return cudaGetLastError();
}

}  // namespace
}  // namespace aquatint::kernels
