#include <string.h>

#include "kernels/attention/attention_few.h"
#include "kernels/attention/attention_tile.h"
#include "kernels/simd_avx2.h"

namespace aquatint::kernels {
namespace {

struct Lanes : Vec {
  // The first n lanes (all if n is larger); others are zero.
  static Reg load_bf16(const uint16_t* p, int64_t n) {
    uint16_t part[8] = {};
    if (n < 8) memcpy(part, p, static_cast<size_t>(n) * sizeof(uint16_t));
    const void* from = n < 8 ? static_cast<const void*>(part) : p;
    const __m128i bits = _mm_loadu_si128(static_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static Reg load_int8(const int8_t* p, int64_t n) {
    int8_t part[8] = {};
    if (n < 8) memcpy(part, p, static_cast<size_t>(n));
    const void* from = n < 8 ? static_cast<const void*>(part) : p;
    const __m128i bytes = _mm_loadl_epi64(static_cast<const __m128i*>(from));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  }
};

using Tile = AttentionTile<Lanes, 4>;
constexpr int kTogether = 2;

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

const AttentionKernel kAttentionAvx2 = {Tile::kLanes, kFewRows, scratch_floats, run_tile, run_few};

}  // namespace aquatint::kernels
