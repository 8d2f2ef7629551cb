#include "kernels/attention/attention_few.h"
#include "kernels/attention/attention_tile.h"
#include "kernels/attention/lanes_avx512.h"

namespace aquatint::kernels {
namespace {

using Tile = AttentionTile<Lanes, 8>;
template <typename Kv>
using Few = AttentionFew<Lanes, 4, Kv>;

int64_t scratch_floats(int64_t head_dim) noexcept {
  const int64_t tile = Tile::scratch_floats(head_dim);
  const int64_t few = Few<KvFloats<Lanes>>::scratch_floats(head_dim);
  return tile > few ? tile : few;
}

void run_tile(const AttentionTask& task) noexcept {
  Tile(task).run();
}

void run_few(const AttentionTask& task) noexcept {
  switch (task.kv) {
    case KvType::kF32:
      return Few<KvFloats<Lanes>>(task).run();
    case KvType::kBF16:
      return Few<KvBf16<Lanes>>(task).run();
    case KvType::kInt8:
      return Few<KvInt8<Lanes>>(task).run();
  }
}

}  // namespace

const AttentionKernel kAttentionAvx512 = {Tile::kLanes, kFewRows, scratch_floats, run_tile,
                                          run_few};

}  // namespace aquatint::kernels
