// The specification of gated linear attention: plain loops, sums and state in double. Chunked and
// recurrent are the same function, so there is one.
#include <cmath>
#include <cstdint>

#include "kernels/gla/gla_kernels.h"

namespace aquatint::kernels::gla {
namespace {

std::int64_t scratch_bytes(const HeadTask& task) noexcept {
  return task.dk * task.columns * static_cast<std::int64_t>(sizeof(double));
}

void update_state(const HeadTask& task, std::int64_t t, double* state) noexcept {
  const float* k = task.k + t * task.k_stride;
  const float* g = task.g + t * task.k_stride;
  const float* v = task.v + t * task.v_stride;
  for (std::int64_t d = 0; d < task.dk; ++d) {
    const double decay = std::exp(static_cast<double>(g[d]));
    for (std::int64_t e = 0; e < task.columns; ++e) {
      double& s = state[d * task.columns + e];
      s = decay * s + static_cast<double>(k[d]) * static_cast<double>(v[e]);
    }
  }
}

void read_state(const HeadTask& task, std::int64_t t, const double* state) noexcept {
  for (std::int64_t c = 0; c < task.group; ++c) {
    const float* q = task.q + t * task.q_stride + c * task.dk;
    float* o = task.o + t * task.o_stride + c * task.dv;
    for (std::int64_t e = 0; e < task.columns; ++e) {
      double sum = 0;
      for (std::int64_t d = 0; d < task.dk; ++d) {
        sum += static_cast<double>(q[d]) * state[d * task.columns + e];
      }
      o[e] = static_cast<float>(static_cast<double>(task.scale) * sum);
    }
  }
}

void run(const HeadTask& task, void* scratch) noexcept {
  double* state = static_cast<double*>(scratch);
  for (std::int64_t d = 0; d < task.dk; ++d) {
    for (std::int64_t e = 0; e < task.columns; ++e) {
      state[d * task.columns + e] = static_cast<double>(task.state[d * task.state_stride + e]);
    }
  }
  for (std::int64_t t = 0; t < task.tokens; ++t) {
    update_state(task, t, state);
    read_state(task, t, state);
  }
  for (std::int64_t d = 0; d < task.dk; ++d) {
    for (std::int64_t e = 0; e < task.columns; ++e) {
      task.state[d * task.state_stride + e] = static_cast<float>(state[d * task.columns + e]);
    }
  }
}

void log_decay(float* r, std::int64_t n, const LogDecayParams& params) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(r[i]);
    const double log_sigmoid = std::fmin(x, 0.0) - std::log1p(std::exp(-std::fabs(x)));
    const float decay = static_cast<float>(log_sigmoid / static_cast<double>(params.normalizer));
    r[i] = std::isnan(x) ? r[i] : (decay < params.lowest ? params.lowest : decay);
  }
}

}  // namespace

const Variant& reference_variant() noexcept {
  static constexpr Form kForm = {run, scratch_bytes};
  static constexpr Variant kVariant = {kForm, kForm, log_decay, 0};
  return kVariant;
}

}  // namespace aquatint::kernels::gla
