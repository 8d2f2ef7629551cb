#include <immintrin.h>

#include <cstring>

#include "kernels/embedding/embedding_internal.h"

namespace aquatint::kernels::detail {
namespace {

constexpr std::int64_t kLanes = 8;

// Each type widens eight of its elements at p.
struct F16 {
  static constexpr std::int64_t kSize = 2;
  static __m256 widen(const char* p, __m256) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
};

struct BF16 {
  static constexpr std::int64_t kSize = 2;
  static __m256 widen(const char* p, __m256) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
};

struct I8 {
  static constexpr std::int64_t kSize = 1;
  static __m256 widen(const char* p, __m256 scale) {
    const __m128i q = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)), scale);
  }
};

template <typename T>
void widen_row(const void* row, float scale, std::int64_t n, float* y) noexcept {
  const auto* p = static_cast<const char*>(row);
  const __m256 factor = _mm256_set1_ps(scale);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) _mm256_storeu_ps(y + i, T::widen(p + i * T::kSize, factor));
  if (i == n) return;
  char last[kLanes * T::kSize] = {};
  float widened[kLanes];
  std::memcpy(last, p + i * T::kSize, static_cast<std::size_t>((n - i) * T::kSize));
  _mm256_storeu_ps(widened, T::widen(last, factor));
  std::memcpy(y + i, widened, static_cast<std::size_t>(n - i) * sizeof(float));
}

void copy_row(const void* row, float, std::int64_t n, float* y) noexcept {
  std::memcpy(y, row, static_cast<std::size_t>(n) * sizeof(float));
}

}  // namespace

const EmbeddingKernels kEmbeddingAvx2{copy_row, widen_row<F16>, widen_row<BF16>, widen_row<I8>};

}  // namespace aquatint::kernels::detail
