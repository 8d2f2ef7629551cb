// Exact u8 x s8 products for processors without 8-bit dot-product instructions, where the library's
// vpmaddubsw path saturates at 16 bits. Operands are widened to 16 bits, pairs are summed in 32.
#include <immintrin.h>

#include "kernels/matmul/matmul_internal.h"

namespace aquatint::kernels::detail {
namespace {

constexpr std::int64_t kStep = 16;
constexpr std::int64_t kOutputs =
    4;  // outputs per pass, so that each widened piece of x is used four times

__m256i load_signed(const std::int8_t* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

__m256i load_unsigned(const std::uint8_t* p) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

std::int32_t horizontal_sum(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
  return _mm_cvtsi128_si32(s);
}

// `count` outputs (at most kOutputs) of one row.
template <std::int64_t count>
void dot(const std::uint8_t* x, std::int64_t columns, const std::int8_t* w, std::int32_t* y) {
  __m256i sums[static_cast<std::size_t>(count)];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  std::int64_t k = 0;
  for (; k + kStep <= columns; k += kStep) {
    const __m256i a = load_unsigned(x + k);
    for (std::int64_t i = 0; i < count; ++i) {
      const __m256i b = load_signed(w + i * columns + k);
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(a, b));
    }
  }
  for (std::int64_t i = 0; i < count; ++i) {
    std::int32_t sum = horizontal_sum(sums[i]);
    for (std::int64_t j = k; j < columns; ++j) {
      sum += static_cast<std::int32_t>(x[j]) * w[i * columns + j];
    }
    y[i] = sum;
  }
}

}  // namespace

void matmul_u8s8_avx2(const std::uint8_t* x, std::int64_t rows, std::int64_t columns,
                      const std::int8_t* w, std::int64_t outputs, std::int32_t* y,
                      std::int64_t ldy) noexcept {
  std::int64_t n = 0;
  for (; n + kOutputs <= outputs; n += kOutputs) {
    for (std::int64_t m = 0; m < rows; ++m) {
      dot<kOutputs>(x + m * columns, columns, w + n * columns, y + m * ldy + n);
    }
  }
  for (; n < outputs; ++n) {
    for (std::int64_t m = 0; m < rows; ++m) {
      dot<1>(x + m * columns, columns, w + n * columns, y + m * ldy + n);
    }
  }
}

}  // namespace aquatint::kernels::detail
