#include "layers/attention_mixer.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "kernels/attention/attention.h"
#include "kernels/rope/rope.h"

namespace aquatint {

std::vector<float> DynamicRope::inverse_frequencies(std::int64_t head_dim,
                                                    std::int64_t length) const {
  const double d = static_cast<double>(head_dim);
  const double stretch =
      factor * static_cast<double>(length) / static_cast<double>(trained) - (factor - 1);
  const double power = head_dim > 2 ? std::pow(stretch, d / (d - 2)) : 1.0;
  return kernels::rope_inverse_frequencies(head_dim, theta * power);
}

AttentionConfig AttentionConfig::with(const LoadOptions& options) const {
  AttentionConfig config = *this;
  config.kv_cache = options.kv_cache;
  if (options.compute == kernels::DenseType::kBF16) {
    config.arithmetic = kernels::AttentionArithmetic::kBFloat16;
  }
  return config;
}

AttentionMixer::AttentionMixer(AttentionConfig config, AttentionWeights weights, Stream& stream)
    : config_(std::move(config)), weights_(std::move(weights)), stream_(&stream) {
  const Linear& in = weights_.qkv ? *weights_.qkv : weights_.q;
  if (!is_int8(in.activations())) {
    config_.arithmetic = kernels::AttentionArithmetic::kFloat32;
  }
  if (config_.scale == 0) config_.scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
  const auto half = static_cast<std::int64_t>(config_.inv_freq.size());
  const Tensor host = Tensor::empty({half}, DType::kF32);
  std::copy(config_.inv_freq.begin(), config_.inv_freq.end(), host.mutable_data<float>());
  inv_freq_ = host.on(stream);
}

std::unique_ptr<BlockState> AttentionMixer::new_state() const {
  return std::make_unique<KvCache>(config_.kv_heads, config_.head_dim, config_.kv_cache, *stream_);
}

std::size_t AttentionMixer::nbytes() const {
  const AttentionWeights& w = weights_;
  const std::size_t projections =
      w.qkv ? w.qkv->nbytes() : w.q.nbytes() + w.k.nbytes() + w.v.nbytes();
  return projections + w.o.nbytes();
}

void AttentionMixer::project(ForwardContext& context, LinearInput& x, float* q, float* k,
                             float* v) const {
  if (!weights_.qkv) {
    Linear::forward_shared(context, x, {{&weights_.q, q}, {&weights_.k, k}, {&weights_.v, v}});
    return;
  }
  AQUATINT_ASSERT(!context.stream().is_cuda());
  const std::int64_t q_columns = config_.heads * config_.head_dim;
  const std::int64_t kv_columns = config_.kv_heads * config_.head_dim;
  const std::int64_t columns = q_columns + 2 * kv_columns;
  float* all = context.workspace.take<float>(x.rows() * columns);
  weights_.qkv->forward(context, x, all);
  constexpr std::int64_t kRowsPerThread = 16;
  parallel_for(x.rows(), kRowsPerThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* from = all + row * columns;
      std::copy_n(from, q_columns, q + row * q_columns);
      std::copy_n(from + q_columns, kv_columns, k + row * kv_columns);
      std::copy_n(from + q_columns + kv_columns, kv_columns, v + row * kv_columns);
    }
  });
}

// Rotates queries and keys of all rows to their positions.
void AttentionMixer::rotate(ForwardContext& context, std::span<const Segment> segments,
                            std::int64_t rows, float* q, float* k) const {
  const AttentionConfig& c = config_;
  if (c.inv_freq.empty()) return;
  Workspace& workspace = context.workspace;
  Stream& stream = context.stream();
  std::vector<std::int32_t> host_positions(static_cast<std::size_t>(rows));
  row_positions(segments, host_positions.data());
  auto* positions = workspace.take<std::int32_t>(rows);
  stream.copy(positions, host_positions.data(), host_positions.size() * sizeof(std::int32_t));
  const auto rotate_rows = [&](std::int64_t first, std::int64_t n, const float* inv_freq) {
    kernels::rope(stream, q + first * c.heads * c.head_dim, n, c.heads, c.head_dim,
                  positions + first, inv_freq);
    kernels::rope(stream, k + first * c.kv_heads * c.head_dim, n, c.kv_heads, c.head_dim,
                  positions + first, inv_freq);
  };
  if (!c.dynamic) return rotate_rows(0, rows, inv_freq_.data<float>());
  for (const Segment& s : segments) {
    const std::int64_t usual = std::clamp<std::int64_t>(c.dynamic->trained - s.past, 0, s.tokens);
    rotate_rows(s.first_row, usual, inv_freq_.data<float>());
    for (std::int64_t t = usual; t < s.tokens; ++t) {
      const auto host = c.dynamic->inverse_frequencies(c.head_dim, s.past + t + 1);
      auto* inv_freq = workspace.take<float>(c.head_dim / 2);
      stream.copy(inv_freq, host.data(), host.size() * sizeof(float));
      rotate_rows(s.first_row + t, 1, inv_freq);
    }
  }
}

void AttentionMixer::forward(ForwardContext& context, LinearInput& x,
                             std::span<const Segment> segments, float* y) const {
  const AttentionConfig& c = config_;
  const std::int64_t rows = x.rows();
  const std::int64_t q_columns = c.heads * c.head_dim, kv_columns = c.kv_heads * c.head_dim;
  Workspace& workspace = context.workspace;
  float* q = workspace.take<float>(rows * q_columns);
  float* k = workspace.take<float>(rows * kv_columns);
  float* v = workspace.take<float>(rows * kv_columns);
  project(context, x, q, k, v);

  rotate(context, segments, rows, q, k);
  context.tap(weights_.module, ".q", q, rows, q_columns);
  context.tap(weights_.module, ".k", k, rows, kv_columns);
  context.tap(weights_.module, ".v", v, rows, kv_columns);

  std::vector<kernels::AttentionSequence> sequences;
  for (const Segment& s : segments) {
    auto& cache = static_cast<KvCache&>(*s.state);
    AQUATINT_ASSERT(cache.length() == s.past);
    if (!cache.append(k + s.first_row * kv_columns, v + s.first_row * kv_columns, s.tokens)) {
      raise(ErrorKind::kNumeric, "'{}': its keys or values hold NaN or infinity", weights_.module);
    }
    sequences.push_back({s.first_row, s.tokens, s.past, cache.keys(), cache.values(),
                         cache.key_scales(), cache.value_scales()});
  }
  const kernels::AttentionShape shape{c.heads,  c.kv_heads, c.head_dim,  c.scale,
                                      c.window, c.kv_cache, c.arithmetic};
  float* o = workspace.take<float>(rows * q_columns);
  kernels::attention(context.stream(), shape, sequences.data(),
                     static_cast<std::int64_t>(sequences.size()), q, o);
  context.tap(weights_.module, ".o", o, rows, q_columns);
  LinearInput output = LinearInput::values(context, o, rows, q_columns);
  weights_.o.forward_add(context, output, y);
}

}  // namespace aquatint
