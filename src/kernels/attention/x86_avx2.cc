#include "kernels/attention/attention_few.h"
#include "kernels/attention/attention_tile.h"
#include "kernels/simd_avx2.h"

namespace aquatint::kernels {
namespace {

using Tile = AttentionTile<Vec, 4>;
using Few = AttentionFew<Vec, 2>;

int64_t scratch_floats(int64_t head_dim) noexcept {
  const int64_t tile = Tile::scratch_floats(head_dim);
  const int64_t few = Few::scratch_floats(head_dim);
  return tile > few ? tile : few;
}

void run_tile(const AttentionTask& task) noexcept {
  Tile(task).run();
}
void run_few(const AttentionTask& task) noexcept {
  Few(task).run();
}

}  // namespace

const AttentionKernel kAttentionAvx2 = {Tile::kLanes, kFewRows, scratch_floats, run_tile, run_few};

}  // namespace aquatint::kernels
