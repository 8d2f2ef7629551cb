// How products with few rows stream packed weights: a block of threads owns one or two panels of 16
// outputs; its warps take turns over the blocks of columns, so that together they read along the
// rows. Each warp keeps a ring of stages in shared memory filled by asynchronous copies, which puts
// kilobytes under way without holding registers, and needs no other warp until the sums of all are
// added, in a fixed order, at the end.
#pragma once

#include <type_traits>

#include "device/cuda_launch.h"
#include "kernels/cuda_overlap.cuh"
#include "kernels/cuda_rows.cuh"
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
constexpr int kHeld = 4;                         // fours of a made row in a thread's registers
constexpr int kPart = 128;                       // columns of them that a warp has of each

// One compiled form. kRuns is the number of groups met in a block of columns, 1 also for longer
// groups; 0 when a row has one scale. With kMade the block of threads makes the activations itself
// and holds all of their columns (cuda_made_rows.cuh); else they come with the weights, block by
// block.
template <int kBitsOf, int kXBytesOf, int kRunsOf, int kTilesOf, int kPanelsOf,
          bool kMadeOf = false>
struct Form {
  static constexpr int kBits = kBitsOf;
  static constexpr int kXBytes = kXBytesOf;
  static constexpr int kRuns = kRunsOf;
  static constexpr int kTiles = kTilesOf;  // of 8 rows of activations
  static constexpr int kPanels = kPanelsOf;
  static constexpr bool kMade = kMadeOf;
  static constexpr int kColumns = kRowBytes * 8 / kBits;   // in a block
  static constexpr int kPieces = kColumns * kXBytes / 16;  // of 16 bytes in a row of x
  static constexpr int kRunColumns = kColumns / (kRuns > 0 ? kRuns : 1);
  static constexpr int kXRow = kXBytes == 1 && kBits == 4 ? 32 : 64;  // bytes of a row that touch
  // Of a made row: bytes from one lane's part of a block of columns to the next lane's, and from
  // one piece of a lane to its next; and bytes between rows, so that lanes meet no conflicts.
  static constexpr int kMadeLane = kXBytes == 2 ? (kBits == 8 ? 32 : 16) : (kBits == 8 ? 16 : 8);
  static constexpr int kMadeStep = kXBytes == 2 ? (kBits == 8 ? 16 : 64) : (kBits == 8 ? 8 : 32);
  static constexpr int kMadePadding = kXBytes == 2 && kBits == 8 ? 16 : kXRow;
  // Whether registers are left for what the results take beside their sums.
  static constexpr bool kTermsAhead = kPanels == 1;
  using Element = std::conditional_t<kXBytes == 2, uint16_t, uint8_t>;
  // Where the parts of a stage start; the activations come last.
  static constexpr int kScalesAt = kPanels * kBlockBytes;
  static constexpr int kZerosAt = kScalesAt + kPanels * kRuns * kPanel * 4;
  static constexpr int kSumsAt = kZerosAt + kPanels * kRuns * kPanel;
  static constexpr int kXAt = kSumsAt + (kXBytes == 1 ? kRuns * kTiles * 8 * 4 : 0);
};

struct Work {
  QuantMatmulCudaArgs a;
  int first_blocks[kMostProducts] = {};  // of threads, of each product; in ascending order
  int blocks = 0;                        // of columns
  int x_columns = 0;                     // of x that exist
  bool x_aligned = false;                // x is made of whole 16-byte pieces
  uint32_t runs_per_group = 1;           // of kRunColumns
  uint32_t group_magic = 0;              // multiplier in place of a division by runs_per_group
  int stage_bytes = 0;
  int warp_bytes = 0;   // of a warp's ring, in which it leaves its sums at the end
  int rings_at = 0;     // in shared memory
  int norm_at = 0;      // in shared memory: the weights of the source's norm
  int x_padded = 0;     // of a made row, with zeros
  int x_stride = 0;     // bytes from one made row to the next
  // A block of threads that makes rows does so for several panels: each is a team's of its warps.
  int teams = 1, team_warps = 1;
  int first_rider = 0;  // block of threads from which on each makes an output of the rider
  cuda::Fault fault;
};

// What lies before made rows in shared memory.
struct MadeRows {
  float parts[kMostMadeColumns / kPart];  // of a reduction
  float part_sums[kMostMadeRows][kMostMadeColumns / kPart];  // of bfloat16 rows, kPart columns each
  float scales[kMostMadeRows];            // with int8
  int sums[kMostMadeRows];                // with int8
};
static_assert(sizeof(MadeRows) % 16 == 0);

// What a block of threads works on.
struct Tile {
  int product = 0;
  int panel = 0, last_panel = 0;  // of the product
  int row = 0;
  int rows = 0;
  int team = 0, thread = 0, threads = 0;  // of the block of threads; of the team
};

template <typename F>
__device__ __forceinline__ Tile my_tile(const Work& work) {
  Tile tile;
  const int block = static_cast<int>(blockIdx.x);
  int first = 0;
#pragma unroll
  for (int i = 1; i < kMostProducts; ++i) {
    const int start = work.first_blocks[i];
    if (block >= start) {
      tile.product = i;
      first = start;
    }
  }
  tile.threads = work.team_warps * kLanes;
  tile.team = F::kMade ? static_cast<int>(threadIdx.x) / tile.threads : 0;
  tile.thread = static_cast<int>(threadIdx.x) - tile.team * tile.threads;
  tile.panel = F::kMade ? (block - first) * work.teams + tile.team : (block - first) * F::kPanels;
  tile.last_panel = static_cast<int>((work.a.products[tile.product].w.outputs - 1) / kPanel);
  tile.row = static_cast<int>(blockIdx.y) * kSlabRows;
  const int64_t left = work.a.rows - tile.row;
  tile.rows = left < kSlabRows ? static_cast<int>(left) : kSlabRows;
  return tile;
}

// The panel that `p` of a tile reads: past the end, where results are dropped, the last one.
__device__ __forceinline__ int panel_to_read(const Tile& tile, int p) {
  return min(tile.panel + p, tile.last_panel);
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
    const int part = F::kBits == 8 ? piece % 2 : piece / 4;
    const int t = F::kBits == 8 ? piece / 2 : piece % 4;
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
  int x_to;      // where that piece goes
  int64_t high;  // bytes from the weights of output g of a panel to those of g + 8; 16 bits

  __device__ Feed(const Work& work, const Tile& tile, int warp, int lane_of)
      : block(warp), lane(lane_of), m(lane / F::kPieces), piece(lane % F::kPieces) {
    const QuantWeightsCuda& w = work.a.products[tile.product].w;
    const int64_t groups = work.a.products[0].w.groups;
    const int64_t row_bytes = work.a.products[0].w.padded_columns * (F::kBits / 8);
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      const int64_t panel = panel_to_read(tile, p);
      if constexpr (F::kBits == 4) {
        weights[p] = w.data + (panel * work.blocks + block) * kBlockBytes + lane * 16;
      } else {
        // There are no rows of 16 bits past the last output.
        const int64_t output = panel * kPanel + lane / 4, last = w.outputs - 1;
        const int64_t low = F::kBits == 16 && output > last ? last : output;
        high = ((F::kBits == 16 && output + 8 > last ? last : output + 8) - low) * row_bytes;
        weights[p] = w.data + low * row_bytes + block * kRowBytes + lane % 4 * 16;
      }
      scales[p] = w.scales + panel * groups * kPanel + lane % 4 * 4;
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
  const auto groups = static_cast<uint32_t>(work.a.products[0].w.groups);
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
  if (work.a.products[0].w.zeros == nullptr) return;
  if (lane < F::kRuns) {
    const uint32_t group = group_of(work, first_run + lane);
#pragma unroll
    for (int p = 0; p < F::kPanels; ++p) {
      const uint32_t at = static_cast<uint32_t>(panel_to_read(tile, p)) * groups + group;
      copy_async16(stage + F::kZerosAt + (p * F::kRuns + lane) * kPanel,
                   work.a.products[tile.product].w.zeros + uint64_t{at} * kPanel, group >= groups);
    }
  }
}

// The sums of int8 activations over groups, which outputs with zeros need.
template <typename F>
__device__ __forceinline__ void fetch_sums(const Work& work, const Tile& tile,
                                           const Feed<F>& feed, uint8_t* stage) {
  if (work.a.products[0].w.zeros == nullptr) return;
  const auto groups = static_cast<uint32_t>(work.a.products[0].w.groups);
  const auto first_run = static_cast<uint32_t>(feed.block * F::kRuns);
  for (int i = feed.lane; i < F::kRuns * kSlabRows; i += kLanes) {
    const int run = i / kSlabRows, m = i % kSlabRows;
    if (m >= tile.rows) continue;
    const uint32_t group = group_of(work, first_run + run);
    // A group's sum counts once, with its first run.
    const bool counts = group < groups && group * work.runs_per_group == first_run + run;
    cuda::copy_async<4>(stage + F::kSumsAt + (run * F::kTiles * 8 + m) * 4,
                        work.a.group_sums + static_cast<int64_t>(tile.row + m) * groups + group,
                        counts);
  }
}

// Starts the copies of the weights of a block of columns. A lane's come to where it reads them.
template <typename F>
__device__ __forceinline__ void fetch_weights(const Work& work, const Tile& tile,
                                              const Feed<F>& feed, uint8_t* stage) {
  const int64_t row_bytes = work.a.products[0].w.padded_columns;  // with 8 bits
#pragma unroll
  for (int p = 0; p < F::kPanels; ++p) {
    uint8_t* to = stage + p * kBlockBytes + feed.lane * 16;
    const uint8_t* from = feed.weights[p];
    copy_async_weights(to, from);
    copy_async_weights(to + kBlockBytes / 2, from + (F::kBits == 4    ? kBlockBytes / 2
                                                     : F::kBits == 16 ? feed.high
                                                                      : 8 * row_bytes));
  }
  if constexpr (F::kRuns > 0) fetch_groups<F>(work, tile, feed, stage);
}

// Starts the copies of the activations of a block of columns.
template <typename F>
__device__ __forceinline__ void fetch_activations(const Work& work, const Tile& tile,
                                                  const Feed<F>& feed, uint8_t* stage) {
  if constexpr (!F::kMade) {
    if constexpr (F::kRuns > 0 && F::kXBytes == 1) fetch_sums<F>(work, tile, feed, stage);
    fetch_x<F>(work, tile, feed, stage);
  }
}

// What a lane reads of the activations of a block of columns: where its first piece in row g of
// each tile is, and how many bytes it is to the next.
template <typename F>
struct Pieces {
  const uint8_t* first[F::kTiles];
  int step;
};

// Where that is in a stage, or in made rows: bytes from their start. A lane whose row does not
// exist reads another: its column of the product is nobody's.
template <typename F>
struct LaneX {
  int offsets[F::kTiles];
  const uint8_t* made;
  int step;

  __device__ LaneX(const Work& work, const Tile& tile, int lane, const uint8_t* shared)
      : made(shared + sizeof(MadeRows)),
        step(F::kXBytes == 1 && F::kBits == 8 ? 8 : tile.rows * F::kXRow) {
    constexpr int kChunk = F::kXRow / 4;
#pragma unroll
    for (int i = 0; i < F::kTiles; ++i) {
      const int row = min(lane / 4 + 8 * i, tile.rows - 1);
      offsets[i] = F::kMade ? row * work.x_stride + lane % 4 * F::kMadeLane
                            : F::kXAt + row * F::kXRow + lane % 4 * kChunk;
    }
  }

  __device__ __forceinline__ Pieces<F> of(const uint8_t* stage, int block) const {
    Pieces<F> pieces;
    const uint8_t* from = F::kMade ? made + block * (F::kColumns * F::kXBytes) : stage;
#pragma unroll
    for (int i = 0; i < F::kTiles; ++i) pieces.first[i] = from + offsets[i];
    pieces.step = F::kMade ? F::kMadeStep : step;
    return pieces;
  }
};

// A warp's ring. The copies of its first weights start before anything else is read, and before
// what earlier kernels leave may be read; start() has those of the activations follow.
template <typename F>
struct Ring {
  uint8_t* stages;
  int warp, warps;
  Feed<F> feed;

  __device__ Ring(const Work& work, const Tile& tile, uint8_t* shared)
      : warp(tile.thread / kLanes),
        warps(work.team_warps),
        feed(work, tile, warp, static_cast<int>(threadIdx.x % kLanes)) {
    stages = shared + work.rings_at + static_cast<int>(threadIdx.x / kLanes) * work.warp_bytes;
    Feed<F> ahead = feed;
#pragma unroll 1
    for (int i = 0; i < kStages - 1; ++i) {
      if (ahead.block < work.blocks) {
        fetch_weights<F>(work, tile, ahead, stages + i * work.stage_bytes);
      }
      if (F::kMade) cuda::commit_copies();
      ahead.advance(warps);
    }
    if (F::kMade) feed = ahead;
  }

  __device__ __forceinline__ void start(const Work& work, const Tile& tile) {
    if constexpr (!F::kMade) {
#pragma unroll 1
      for (int i = 0; i < kStages - 1; ++i) {
        if (feed.block < work.blocks) {
          fetch_activations<F>(work, tile, feed, stages + i * work.stage_bytes);
        }
        cuda::commit_copies();  // the first group has the weights of all
        feed.advance(warps);
      }
    }
  }

  // Calls multiply(stage, block) for each of this warp's blocks of columns.
  template <typename Multiply>
  __device__ __forceinline__ void run(const Work& work, const Tile& tile,
                                      const Multiply& multiply) {
    const int bytes = work.stage_bytes;
    int now = 0, before = (kStages - 1) * bytes;  // stages, in bytes
#pragma unroll 1
    while (feed.block - (kStages - 1) * warps < work.blocks) {  // the block to multiply
      cuda::wait_copies<kStages - 2>();
      __syncwarp();  // all lanes' copies are here, and the stage before this one has been read
      const int block = feed.block - (kStages - 1) * warps;
      if (feed.block < work.blocks) {
        fetch_weights<F>(work, tile, feed, stages + before);
        fetch_activations<F>(work, tile, feed, stages + before);
      }
      cuda::commit_copies();
      feed.advance(warps);
      __syncwarp();  // whatever the lanes copied, they multiply together
      multiply(stages + now, block);
      before = now;
      now = now + bytes < kStages * bytes ? now + bytes : 0;
    }
  }
};

// An element of a tile's results.
struct Place {
  bool exists = false;
  int p = 0, m = 0, n = 0;  // its panel and row in the tile, its output in the panel
  int64_t output = 0;       // of the product
};

template <typename F>
__device__ __forceinline__ Place place_of(const Work& work, const Tile& tile, unsigned i) {
  Place place;
  place.n = static_cast<int>(i % kPanel);
  place.m = static_cast<int>(i / kPanel);
  if constexpr (F::kPanels == 2) {
    place.p = place.m >= tile.rows ? 1 : 0;
    place.m -= place.p * tile.rows;
  }
  place.output = static_cast<int64_t>(tile.panel + place.p) * kPanel + place.n;
  place.exists = place.m < tile.rows && place.output < work.a.products[tile.product].w.outputs;
  return place;
}

// What an element takes beside its sum.
struct Terms {
  float scale = 1;     // of the output, with one group
  float x_scale = 1;   // of the row, with int8
  int correction = 0;  // for the output's zero, with int8 and one group
  float addend = 0;    // the bias, and what y held
};

template <typename F>
__device__ __forceinline__ Terms load_terms(const Work& work, const Tile& tile,
                                            const Place& place) {
  Terms terms;
  if (!place.exists) return terms;
  const QuantProductCuda& of = work.a.products[tile.product];
  const int64_t row = tile.row + place.m;
  if constexpr (F::kRuns == 0 && F::kBits != 16) terms.scale = of.w.scales[place.output];
  if constexpr (F::kXBytes == 1 && !F::kMade) {
    terms.x_scale = work.a.x_scales[row];
    if (F::kRuns == 0 && of.w.zeros != nullptr) {
      terms.correction = of.w.zeros[place.output] * work.a.group_sums[row];
    }
  }
  if (of.bias != nullptr) terms.addend = of.bias[place.output];
  if (of.accumulate) terms.addend += of.y[row * of.ldy + place.output];
  return terms;
}

// Adds the sums of all warps and writes finish(sum, terms) to y. `first`: the terms of this
// thread's first element, loaded in advance; unused without kTermsAhead.
template <typename F, typename Sum, typename Finish>
__device__ __forceinline__ void reduce(const Work& work, const Tile& tile, const Ring<F>& ring,
                                       uint8_t* shared, const Terms& first,
                                       const Sum (&sums)[F::kPanels][F::kTiles][4],
                                       const Finish& finish) {
  constexpr int kPanelSums = F::kTiles * 8 * kSumStride;
  const int g = ring.feed.lane / 4, t = ring.feed.lane % 4;
  cuda::wait_copies<0>();
  __syncwarp();  // the warp's ring, which no other touches, is free
  Sum* own = reinterpret_cast<Sum*>(ring.stages);
#pragma unroll
  for (int p = 0; p < F::kPanels; ++p) {
#pragma unroll
    for (int tile8 = 0; tile8 < F::kTiles; ++tile8) {
      Sum* mine = own + p * kPanelSums + (tile8 * 8 + 2 * t) * kSumStride + g;
      mine[0] = sums[p][tile8][0];
      mine[kSumStride] = sums[p][tile8][1];
      mine[8] = sums[p][tile8][2];
      mine[kSumStride + 8] = sums[p][tile8][3];
    }
  }
  __syncthreads();
  const QuantProductCuda& of = work.a.products[tile.product];
  const auto count = static_cast<unsigned>(F::kPanels * tile.rows * kPanel);
  const uint8_t* rings = shared + work.rings_at + tile.team * ring.warps * work.warp_bytes;
  const auto own_first = static_cast<unsigned>(tile.thread);
  for (unsigned i = own_first; i < count; i += static_cast<unsigned>(tile.threads)) {
    const Place place = place_of<F>(work, tile, i);
    if (!place.exists) continue;
    Terms terms = F::kTermsAhead && i == own_first ? first : load_terms<F>(work, tile, place);
    if constexpr (F::kXBytes == 1 && F::kMade) {
      const auto& made = *reinterpret_cast<const MadeRows*>(shared);
      terms.x_scale = made.scales[place.m];
      if (of.w.zeros != nullptr) terms.correction = of.w.zeros[place.output] * made.sums[place.m];
    }
    const uint8_t* from =
        rings + (place.p * kPanelSums + place.m * kSumStride + place.n) * sizeof(Sum);
    Sum sum = 0;
#pragma unroll
    for (int w = 0; w < kMostWarps; ++w) {  // all are loaded at once, and added in order
      sum += w < ring.warps ? *reinterpret_cast<const Sum*>(from + w * work.warp_bytes) : Sum{0};
    }
    of.y[(tile.row + place.m) * of.ldy + place.output] = finish(sum, terms);
  }
}

}  // namespace
}  // namespace aquatint::kernels
