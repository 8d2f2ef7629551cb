// How products with few rows are started: which compiled form fits the weights, how the blocks of
// threads of one launch lie over the panels of all products that share the activations, and how
// many warps a block has. The host's side of cuda_stream.cuh.
#pragma once

#include "kernels/cuda_host.cuh"
#include "kernels/quant_matmul/cuda_stream.cuh"

namespace aquatint::kernels {
namespace {

constexpr int kHeldColumns = kHeld * kPart;  // of a made row in a warp
constexpr int kSharedBudget = 104 * 1024;  // two blocks of threads per multiprocessor of sm_90

// Shared memory of each of `warps` warps. One with fewer blocks of columns than stages needs the
// first stages only.
template <typename F>
int warp_bytes(const Work& work, int warps) {
  const int most = (work.blocks + warps - 1) / warps;
  const int ring = (most < kStages ? most : kStages) * work.stage_bytes;
  constexpr int kSums = F::kPanels * F::kTiles * 8 * kSumStride * 4;
  return ring > kSums ? ring : kSums;
}

// Warps of a block of threads. Where all blocks fit on the device at once, each should ask for all
// of its bytes at once; otherwise a warp should have enough to do to be worth starting.
// Made rows must fit their registers.
template <typename F>
int choose_warps(const Work& work, int64_t thread_blocks, int multiprocessors) {
  const int per_warp = thread_blocks <= multiprocessors      ? 1
                       : thread_blocks < 4 * multiprocessors ? 2
                                                             : 4;
  int warps = 1;
  while (warps < kMostWarps && warps * per_warp < work.blocks) warps *= 2;
  const int least = F::kMade ? (work.x_padded + kHeldColumns - 1) / kHeldColumns : 1;
  const int budget = kSharedBudget > work.rings_at ? kSharedBudget - work.rings_at : 0;
  while (warps > least && warps * warp_bytes<F>(work, warps) > budget) warps /= 2;
  while (warps < least) warps *= 2;
  return warps;
}

// Panels for which a block of threads makes its rows: several where blocks enough are left for all
// multiprocessors to have about the same to do.
inline int choose_teams(int team_warps, int64_t panels, int multiprocessors) {
  int teams = 1;
  while (2 * teams * team_warps <= kMostWarps && panels / (2 * teams) * 2 >= 5 * multiprocessors) {
    teams *= 2;
  }
  return teams;
}

inline int64_t panels_of(const QuantProductCuda& product) {
  return (product.w.outputs + kPanel - 1) / kPanel;
}

inline int64_t slabs_of(const QuantMatmulCudaArgs& a) {
  return (a.rows + kSlabRows - 1) / kSlabRows;
}

template <typename F>
Work prepare(const QuantMatmulCudaArgs& a, const CudaLaunch& launch) {
  Work work;
  const QuantWeightsCuda& w = a.products[0].w;
  work.a = a;
  work.blocks = static_cast<int>(w.padded_columns / F::kColumns);
  const int64_t columns = F::kMade || F::kXBytes == 2 ? w.columns : a.ldx;
  work.x_columns = static_cast<int>(columns < w.padded_columns ? columns : w.padded_columns);
  work.x_aligned = cuda::aligned16(F::kXBytes == 2 ? static_cast<const void*>(a.x16) : a.x8) &&
                   a.ldx * F::kXBytes % 16 == 0 && work.x_columns * F::kXBytes % 16 == 0;
  work.runs_per_group = static_cast<uint32_t>(w.group_size / F::kRunColumns);
  // floor(run / d) = run * (floor(2^32 / d) + 1) >> 32 while run * d < 2^32, and d > 1.
  work.group_magic = work.runs_per_group > 1
                         ? static_cast<uint32_t>((uint64_t{1} << 32) / work.runs_per_group + 1)
                         : 0;
  const int rows = static_cast<int>(a.rows < kSlabRows ? a.rows : kSlabRows);
  work.stage_bytes = F::kXAt + (F::kMade ? 0 : rows * F::kPieces * 16);
  work.fault = cuda::fault_of(launch);
  if constexpr (F::kMade) {
    work.x_padded = static_cast<int>(w.padded_columns);
    work.x_stride = work.x_padded * F::kXBytes + F::kMadePadding;
    work.norm_at = static_cast<int>(sizeof(MadeRows)) + rows * work.x_stride;
    const int64_t norm = a.source.weight != nullptr ? a.source.norm_columns : 0;
    work.rings_at = work.norm_at + static_cast<int>((norm * 4 + 15) / 16 * 16);
  }
  return work;
}

// Lays the blocks of threads over the panels of all products, one product after another. Returns
// their number.
template <typename F>
int lay_out(Work& work) {
  const int64_t in_block = F::kPanels * work.teams;
  int blocks = 0;
  for (int i = 0; i < kMostProducts; ++i) {
    work.first_blocks[i] = blocks;
    if (i >= work.a.count) continue;  // starts where no block is
    const int64_t panels = panels_of(work.a.products[i]);
    blocks += static_cast<int>((panels + in_block - 1) / in_block);
  }
  return blocks;
}

// Sends the products to the compiled form that fits them: run<F>(). False if none does.
template <int kBits, int kXBytes, int kRuns, typename Run>
bool dispatch_rows(const QuantMatmulCudaArgs& a, int multiprocessors, const Run& run) {
  int64_t panels = 0;
  for (int i = 0; i < a.count; ++i) panels += panels_of(a.products[i]);
  // Rows are made for quantized weights, in int8 for those with one group only.
  constexpr bool kCanMake = kBits != 16 && (kXBytes == 2 || kRuns == 0);
  if (a.source.x != nullptr) {
    if constexpr (kCanMake) run(Form<kBits, kXBytes, kRuns, 1, 1, true>{});
    return kCanMake;
  }
  if (a.rows <= 8) {
    run(Form<kBits, kXBytes, kRuns, 1, 1>{});
  } else if (panels * slabs_of(a) < 2 * multiprocessors) {
    run(Form<kBits, kXBytes, kRuns, 2, 1>{});
  } else {
    run(Form<kBits, kXBytes, kRuns, 2, 2>{});
  }
  return true;
}

template <int kXBytes, typename Run>
bool dispatch(const QuantMatmulCudaArgs& a, int multiprocessors, const Run& run) {
  const QuantWeightsCuda& w = a.products[0].w;
  const bool one = w.groups == 1;
  const int64_t size = w.group_size;
  if (w.bits == 16) {
    if constexpr (kXBytes == 2) return dispatch_rows<16, 2, 0>(a, multiprocessors, run);
    return false;
  }
  if (w.bits == 8) {
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

// Starts `kernel`, compiled for the form F, for all products, panels and rows.
template <typename F>
cudaError_t start(void (*kernel)(Work), const QuantMatmulCudaArgs& a, const CudaLaunch& launch) {
  Work work = prepare<F>(a, launch);
  int thread_blocks = lay_out<F>(work);
  if (thread_blocks == 0) return cudaSuccess;
  const int64_t slabs = slabs_of(a);
  work.team_warps = choose_warps<F>(work, thread_blocks * slabs, launch.multiprocessors);
  work.warp_bytes = warp_bytes<F>(work, work.team_warps);
  if (F::kMade) {
    work.teams = choose_teams(work.team_warps, thread_blocks, launch.multiprocessors);
    thread_blocks = lay_out<F>(work);
  }
  const int warps = work.teams * work.team_warps;
  const auto shared = static_cast<size_t>(work.rings_at + warps * work.warp_bytes);
  if (const cudaError_t error = cuda::allow_shared(kernel, shared)) return error;
  work.first_rider = thread_blocks;
  const dim3 grid(static_cast<unsigned>(thread_blocks + a.rider.w.outputs),
                  static_cast<unsigned>(slabs));
  const auto threads = static_cast<unsigned>(warps * kLanes);
  return cuda::launch_overlapped(launch, kernel, grid, threads, shared, work);
}

}  // namespace
}  // namespace aquatint::kernels
