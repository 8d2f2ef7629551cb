// The rotary embedding in plain loops that the compiler turns into vector code for the instruction
// set of the including file. Everything has internal linkage for that reason.
#pragma once

#include "kernels/rope/rope_args.h"

namespace aquatint::kernels {
namespace {

// Pairs whose sines and cosines are kept on the stack at a time.
constexpr int64_t kRopeBlock = 128;

// Sine and cosine of n angles, |angle| < 2^31. The reduction by pi/2 is in double, where it costs
// no accuracy; the Taylor polynomials on [-pi/4, pi/4] are below half a float32 step.
inline __attribute__((always_inline)) void sin_cos(const float* angle, int64_t n, float* sine,
                                                   float* cosine) {
  constexpr double kTwoOverPi = 0.63661977236758134308;
  constexpr double kHalfPi = 1.57079632679489661923;
  constexpr double kRoundToInteger = 6755399441055744.0;  // 1.5 * 2^52: adding it drops fractions
  for (int64_t i = 0; i < n; ++i) {
    const double a = static_cast<double>(angle[i]);
    const double quarter = (a * kTwoOverPi + kRoundToInteger) - kRoundToInteger;
    const auto r = static_cast<float>(a - quarter * kHalfPi);
    const auto turn = static_cast<int32_t>(quarter);
    const float z = r * r;
    const float s =
        r + r * z * (-1.0F / 6 + z * (1.0F / 120 + z * (-1.0F / 5040 + z * (1.0F / 362880))));
    const float c =
        1.0F + z * (-0.5F + z * (1.0F / 24 +
                                 z * (-1.0F / 720 + z * (1.0F / 40320 + z * (-1.0F / 3628800)))));
    const bool odd = (turn & 1) != 0;
    const float base_sine = odd ? c : s;
    const float base_cosine = odd ? s : c;
    sine[i] = (turn & 2) != 0 ? -base_sine : base_sine;
    cosine[i] = ((turn + 1) & 2) != 0 ? -base_cosine : base_cosine;
  }
}

inline __attribute__((always_inline)) void rotate(float* __restrict__ low, float* __restrict__ high,
                                                  const float* __restrict__ sine,
                                                  const float* __restrict__ cosine, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float u = low[i];
    const float v = high[i];
    low[i] = u * cosine[i] - v * sine[i];
    high[i] = v * cosine[i] + u * sine[i];
  }
}

inline __attribute__((always_inline)) void rope_body(const RopeArgs& args, int64_t begin,
                                                     int64_t end) {
  float angle[kRopeBlock], sine[kRopeBlock], cosine[kRopeBlock];
  for (int64_t row = begin; row < end; ++row) {
    const auto position = static_cast<float>(args.positions[row]);
    float* x = args.x + row * args.heads * 2 * args.half;
    for (int64_t first = 0; first < args.half; first += kRopeBlock) {
      const int64_t n = args.half - first < kRopeBlock ? args.half - first : kRopeBlock;
      for (int64_t i = 0; i < n; ++i) angle[i] = position * args.inv_freq[first + i];
      sin_cos(angle, n, sine, cosine);
      for (int64_t head = 0; head < args.heads; ++head) {
        float* low = x + head * 2 * args.half + first;
        rotate(low, low + args.half, sine, cosine, n);
      }
    }
  }
}

}  // namespace
}  // namespace aquatint::kernels
