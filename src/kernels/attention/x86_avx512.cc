#include "kernels/attention/attention_few.h"
#include "kernels/attention/attention_tile.h"
#include "kernels/attention/lanes_avx512.h"

namespace aquatint::kernels {
namespace {

using Tile = AttentionTile<Lanes, 8>;
constexpr int kTogether = 4;

int64_t scratch_floats(int64_t head_dim) noexcept {
  const int64_t tile = Tile::scratch_floats(head_dim);
  const int64_t few = AttentionFew<Lanes, kTogether, KvFloats<Lanes>>::scratch_floats(head_dim);
  return tile > few ? tile : few;
}

void run_tile(const AttentionTask& task) noexcept {
  Tile(task).run();
}

void run_few(const AttentionTask& task) noexcept {
  run_attention_few<Lanes, kTogether>(task);
}

}  // namespace

const AttentionKernel kAttentionAvx512 = {Tile::kLanes, kFewRows, scratch_floats, run_tile,
                                          run_few};

}  // namespace aquatint::kernels
