#include <cfloat>
#include <cmath>
#include <vector>

#include "base/dtype.h"
#include "kernels/attention/attention_task.h"

namespace aquatint::kernels {
namespace {

// Element i of a position of the cache.
double element(const AttentionTask& task, const void* cache, const float* scales, int64_t position,
               int64_t i) {
  const int64_t at = position * task.kv_stride + i;
  switch (task.kv) {
    case KvType::kF32:
      return static_cast<double>(static_cast<const float*>(cache)[at]);
    case KvType::kBF16:
      return static_cast<double>(bf16_to_f32(static_cast<const uint16_t*>(cache)[at]));
    case KvType::kInt8:
      break;
  }
  return static_cast<double>(static_cast<const int8_t*>(cache)[at]) *
         static_cast<double>(scales[position * task.scale_stride]);
}

double score(const AttentionTask& task, const float* q, int64_t key) {
  double dot = 0;
  for (int64_t i = 0; i < task.head_dim; ++i) {
    dot += static_cast<double>(q[i]) * element(task, task.keys, task.key_scales, key, i);
  }
  return dot * static_cast<double>(task.scale);
}

void attend_row(const AttentionTask& task, int64_t row) {
  const int64_t token = row / task.group;
  const int64_t at = token * task.token_stride + row % task.group * task.head_dim;
  const int64_t position = task.past + token;
  const auto visible = [&](int64_t key) {
    return key <= position && (task.window == 0 || key > position - task.window);
  };
  double largest = static_cast<double>(-FLT_MAX);
  for (int64_t key = task.key_begin; key < task.key_end; ++key) {
    if (visible(key)) largest = std::fmax(largest, score(task, task.q + at, key));
  }
  double sum = 0;
  std::vector<double> weighted(static_cast<std::size_t>(task.head_dim), 0.0);
  for (int64_t key = task.key_begin; key < task.key_end; ++key) {
    if (!visible(key)) continue;
    const double weight = std::exp(score(task, task.q + at, key) - largest);
    sum += weight;
    for (std::size_t i = 0; i < weighted.size(); ++i) {
      weighted[i] +=
          weight * element(task, task.values, task.value_scales, key, static_cast<int64_t>(i));
    }
  }
  const int64_t out = row - task.row_begin;
  float* o = task.o + at;
  double divisor = sum;
  if (task.largest != nullptr) {
    task.largest[out] = static_cast<float>(largest);
    task.sum[out] = static_cast<float>(sum);
    o = task.weighted + out * task.head_dim;
    divisor = 1;
  }
  for (std::size_t i = 0; i < weighted.size(); ++i)
    o[i] = static_cast<float>(weighted[i] / divisor);
}

void attend(const AttentionTask& task) noexcept {
  for (int64_t row = task.row_begin; row < task.row_end; ++row) attend_row(task, row);
}

int64_t scratch_floats(int64_t) noexcept {
  return 0;
}

}  // namespace

const AttentionKernel kAttentionReference = {16, 4, scratch_floats, attend, attend};

}  // namespace aquatint::kernels
