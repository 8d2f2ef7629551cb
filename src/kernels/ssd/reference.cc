// The specification of Mamba-2's recurrence: plain loops, everything in double but the stored
// state. Chunked and recurrent are the same function, so there is one.
#include <cmath>

#include "kernels/ssd/ssd_kernels.h"

namespace aquatint::kernels::ssd {
namespace {

int64_t scratch_bytes(const Task& task) noexcept {
  return task.states * task.head_dim * static_cast<int64_t>(sizeof(double));
}

double step_size(const Task& task, int64_t t, int64_t head) noexcept {
  const double raw =
      static_cast<double>(task.dt[t * task.ld_dt + head]) + static_cast<double>(task.dt_bias[head]);
  const double delta = std::fmax(raw, 0.0) + std::log1p(std::exp(-std::fabs(raw)));
  if (std::isnan(raw)) return raw;
  return std::fmin(std::fmax(delta, static_cast<double>(task.dt_low)),
                   static_cast<double>(task.dt_high));
}

void token(const Task& task, int64_t t, int64_t head, double* state) noexcept {
  const int64_t dim = task.head_dim, group = head / task.heads_per_group;
  const double delta = step_size(task, t, head);
  const double decay = std::exp2(delta * static_cast<double>(task.rates[head]));
  const float* b = task.b + t * task.ld + group * task.states;
  const float* c = task.c + t * task.ld + group * task.states;
  for (int64_t p = 0; p < dim; ++p) {
    const double x = task.x[t * task.ld + head * dim + p];
    const double skip = task.skip[task.skip_per_channel ? head * dim + p : head];
    double y = skip * x;
    for (int64_t n = 0; n < task.states; ++n) {
      double& s = state[n * dim + p];
      s = decay * s + static_cast<double>(b[n]) * delta * x;
      y += static_cast<double>(c[n]) * s;
    }
    task.y[t * task.heads * dim + head * dim + p] = static_cast<float>(y);
  }
}

void run(const Task& task, void* scratch) noexcept {
  auto* state = static_cast<double*>(scratch);
  const int64_t size = task.states * task.head_dim;
  for (int64_t head = task.head_begin; head < task.head_end; ++head) {
    float* stored = task.state + head * size;
    for (int64_t i = 0; i < size; ++i) state[i] = stored[i];
    for (int64_t t = 0; t < task.tokens; ++t) token(task, t, head, state);
    for (int64_t i = 0; i < size; ++i) stored[i] = static_cast<float>(state[i]);
  }
}

}  // namespace

const Variant kReference = {{run, scratch_bytes}, {run, scratch_bytes}, 0};

}  // namespace aquatint::kernels::ssd
