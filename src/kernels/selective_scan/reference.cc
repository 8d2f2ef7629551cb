// The specification of the selective scan: plain loops, everything in double but the stored state.
#include <cmath>

#include "kernels/selective_scan/selective_scan_args.h"

namespace aquatint::kernels::scan {
namespace {

int64_t scratch_bytes(int64_t states) noexcept {
  return states * static_cast<int64_t>(sizeof(double));
}

void scan_channel(const Args& a, const Sequence& sequence, int64_t channel,
                  double* state) noexcept {
  for (int64_t n = 0; n < a.states; ++n) state[n] = sequence.state[n * a.channels + channel];
  for (int64_t t = 0; t < sequence.tokens; ++t) {
    const int64_t row = sequence.first_row + t;
    const double x = a.x[row * a.ldx + channel];
    const double raw = a.dt[row * a.channels + channel];
    const double delta = std::fmax(raw, 0.0) + std::log1p(std::exp(-std::fabs(raw)));
    double y = static_cast<double>(a.skip[channel]) * x;
    for (int64_t n = 0; n < a.states; ++n) {
      const double decay =
          std::exp2(delta * static_cast<double>(a.rates[n * a.channels + channel]));
      state[n] = decay * state[n] + delta * static_cast<double>(a.b[row * a.ldbc + n]) * x;
      y += static_cast<double>(a.c[row * a.ldbc + n]) * state[n];
    }
    if (a.z != nullptr) {
      const double z = a.z[row * a.ldz + channel];
      y *= z / (1.0 + std::exp(-z));
    }
    a.y[row * a.channels + channel] = static_cast<float>(y);
  }
  for (int64_t n = 0; n < a.states; ++n) {
    sequence.state[n * a.channels + channel] = static_cast<float>(state[n]);
  }
}

void run(const Args& a, int64_t begin, int64_t end, void* scratch) noexcept {
  for (int64_t s = 0; s < a.count; ++s) {
    for (int64_t channel = begin; channel < end; ++channel) {
      scan_channel(a, a.sequences[s], channel, static_cast<double*>(scratch));
    }
  }
}

}  // namespace

const Variant kReference = {run, scratch_bytes};

}  // namespace aquatint::kernels::scan
