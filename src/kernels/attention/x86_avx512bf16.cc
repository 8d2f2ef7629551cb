// Attention of prompts in products of bfloat16 pairs, on AVX512-BF16. Few rows read each key once,
// so there is nothing to gain in how fast it is multiplied: they stay with AVX-512.
#include "kernels/attention/attention_pairs.h"
#include "kernels/attention/lanes_avx512.h"

namespace aquatint::kernels {
namespace {

struct PairLanes : Lanes {
  static Reg load_pairs(const uint32_t* p) { return _mm512_castsi512_ps(_mm512_loadu_si512(p)); }
  static void store_pairs(uint32_t* p, Reg v) { _mm512_storeu_si512(p, _mm512_castps_si512(v)); }
  static Reg set_pair(uint32_t pair) {
    return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(pair)));
  }
  // acc + the products of both halves of each lane, in float32. Not the intrinsic, with which GCC
  // 12 copies every sum before and after.
  static Reg dot(Reg a, Reg b, Reg acc) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
  }
  // 32 values in a row, rounded to nearest even: neighbours become pairs.
  static Reg round_pairs(Reg first, Reg second) {
    Reg result;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(result) : "v"(first), "v"(second));
    return result;
  }
  // Lane by lane: `even` in the lower half, `odd` in the upper one.
  static Reg interleave(Reg even, Reg odd) {
    alignas(64) static constexpr uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                        21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                        11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i order = _mm512_load_si512(kOrder);
    const __m512i both = _mm512_castps_si512(round_pairs(even, odd));
    return _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(~__mmask32{0}, order, both));
  }
};

using Pairs = AttentionPairs<PairLanes>;

int64_t scratch_floats(int64_t head_dim) noexcept {
  const int64_t few = kAttentionAvx512.scratch_floats(head_dim);
  const int64_t tile = Pairs::scratch_floats(head_dim);
  return tile > few ? tile : few;
}

void run_tile(const AttentionTask& task) noexcept {
  Pairs(task).run();
}

void run_few(const AttentionTask& task) noexcept {
  kAttentionAvx512.few(task);
}

}  // namespace

const AttentionKernel kAttentionAvx512Bf16 = {kPairTiles * Pairs::kLanes, 8, scratch_floats,
                                              run_tile, run_few};

}  // namespace aquatint::kernels
