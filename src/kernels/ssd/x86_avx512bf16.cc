// The chunked form of Mamba-2's recurrence with bfloat16 products of the state, on AVX512-BF16.
#include <immintrin.h>

#include "kernels/simd_avx512.h"
#include "kernels/simd_denormals.h"
#include "kernels/ssd/chunked_body.h"

namespace aquatint::kernels::ssd {
namespace {

struct Lanes : Vec {
  static constexpr int64_t kRows = 8;    // x 2 vectors of accumulators
  static constexpr int64_t kChunk = 32;  // tokens
  static constexpr bool kPairs = true;

  // acc + the products of both halves of each lane, in float32. Not the intrinsic, with which GCC
  // 12 copies every sum before and after.
  static Reg dot(Reg a, Reg b, Reg acc) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
  }
  // 16 values rounded to nearest even, in the memory of 8 floats.
  static void store_rounded(float* p, Reg v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), rounded(v));
  }
  // Lane by lane: `even` in the lower half, `odd` in the upper one.
  static Reg pair(Reg even, Reg odd) {
    const __m512i low = _mm512_maskz_cvtepu16_epi32(kAll, rounded(even));
    const __m512i high = _mm512_maskz_cvtepu16_epi32(kAll, rounded(odd));
    return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_maskz_slli_epi32(kAll, high, 16)));
  }

 private:
  static constexpr __mmask16 kAll = 0xFFFF;
  static __m256i rounded(Reg v) {
    __m256i result;
    asm("vcvtneps2bf16 %1, %0" : "=v"(result) : "v"(v));
    return result;
  }
};

}  // namespace

const Form kAvx512Bf16Chunked = {flushed<chunked_run<Lanes>>, chunked_scratch<Lanes>};

}  // namespace aquatint::kernels::ssd
