#include "layers/attention_mixer.h"

#include <algorithm>
#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/rope/rope.h"

namespace aquatint {

AttentionMixer::AttentionMixer(AttentionConfig config, AttentionWeights weights, Stream& stream)
    : config_(std::move(config)), weights_(std::move(weights)), stream_(&stream) {
  const auto half = static_cast<std::int64_t>(config_.inv_freq.size());
  const Tensor host = Tensor::empty({half}, DType::kF32);
  std::copy(config_.inv_freq.begin(), config_.inv_freq.end(), host.mutable_data<float>());
  inv_freq_ = host.on(stream);
}

std::unique_ptr<BlockState> AttentionMixer::new_state() const {
  return std::make_unique<KvCache>(config_.kv_heads * config_.head_dim, *stream_);
}

std::size_t AttentionMixer::nbytes() const {
  return weights_.q.nbytes() + weights_.k.nbytes() + weights_.v.nbytes() + weights_.o.nbytes();
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
  weights_.q.forward(context, x, q);
  weights_.k.forward(context, x, k);
  weights_.v.forward(context, x, v);

  std::vector<std::int32_t> host_positions(static_cast<std::size_t>(rows));
  for (const Segment& s : segments) {
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      host_positions[static_cast<std::size_t>(s.first_row + t)] =
          static_cast<std::int32_t>(s.past + t);
    }
  }
  Stream& stream = context.stream();
  auto* positions = workspace.take<std::int32_t>(rows);
  stream.copy(positions, host_positions.data(), host_positions.size() * sizeof(std::int32_t));
  const float* inv_freq = inv_freq_.data<float>();
  kernels::rope(stream, q, rows, c.heads, c.head_dim, positions, inv_freq);
  kernels::rope(stream, k, rows, c.kv_heads, c.head_dim, positions, inv_freq);
  context.tap(weights_.module, ".q", q, rows, q_columns);
  context.tap(weights_.module, ".k", k, rows, kv_columns);
  context.tap(weights_.module, ".v", v, rows, kv_columns);

  std::vector<kernels::AttentionSequence> sequences;
  for (const Segment& s : segments) {
    auto& cache = static_cast<KvCache&>(*s.state);
    AQUATINT_ASSERT(cache.length() == s.past);
    cache.append(k + s.first_row * kv_columns, v + s.first_row * kv_columns, s.tokens);
    sequences.push_back({s.first_row, s.tokens, s.past, cache.keys(), cache.values()});
  }
  const kernels::AttentionShape shape{c.heads, c.kv_heads, c.head_dim,
                                      1.0f / std::sqrt(static_cast<float>(c.head_dim)), c.window};
  float* o = workspace.take<float>(rows * q_columns);
  kernels::attention(stream, shape, sequences.data(), static_cast<std::int64_t>(sequences.size()),
                     q, o);
  context.tap(weights_.module, ".o", o, rows, q_columns);
  LinearInput output = LinearInput::values(context, o, rows, q_columns);
  weights_.o.forward_add(context, output, y);
}

}  // namespace aquatint
