// Recurrences whose states and products of decays run through denormal numbers on their way to
// zero. Those are slow and too small to matter, so kernels run with them flushed to zero.
#pragma once

#include <immintrin.h>

namespace aquatint::kernels {
namespace {

// Calls kRun, a kernel of any arguments, with denormal numbers read and written as zero.
template <auto kRun, typename... Arguments>
void flushed(Arguments... arguments) noexcept {
  constexpr unsigned kFlushDenormals = 0x8040;
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | kFlushDenormals);
  kRun(arguments...);
  _mm_setcsr(mode);
}

}  // namespace
}  // namespace aquatint::kernels
