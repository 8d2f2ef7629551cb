#include "models/synth.h"

#include <cmath>

#include "base/progress.h"
#include "base/threads.h"
#include "formats/atomic_file.h"
#include "formats/json_text.h"
#include "formats/sharded_writer.h"

namespace aquatint {
namespace {

// SplitMix64: a counter turned into 64 random bits, so that any part of a tensor can be made on its
// own.
std::uint64_t random_bits(std::uint64_t counter) {
  std::uint64_t z = counter * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Sum of the four 16-bit parts: close to normal (kurtosis 2.7), variance 1, and quick.
float random_normal(std::uint64_t counter) {
  const std::uint64_t bits = random_bits(counter);
  std::int64_t sum = 0;
  for (unsigned part = 0; part < 4; ++part) {
    sum += static_cast<std::int64_t>((bits >> (16 * part)) & 0xffffu);
  }
  constexpr float kMean = 2.0f * 65535.0f;
  constexpr float kDeviation = 37837.2f;  // 2 * 65536 / sqrt(12)
  return (static_cast<float>(sum) - kMean) / kDeviation;
}

struct Distribution {
  float mean, deviation;
};

// Products keep the size of their input; state-space models remember for tens of tokens, as trained
// ones do.
Distribution distribution(const TensorSpec& spec) {
  switch (spec.role) {
    case Role::kNorm:
    case Role::kSkip:
      return {1.0f, 0.1f};
    case Role::kEmbedding:
    case Role::kPosition:
    case Role::kBias:
      return {0.0f, 1.0f};
    case Role::kDecay:  // log(-A)
      return {1.0f, 0.7f};
    case Role::kTimeStepBias:
      return {-4.0f, 1.0f};
    default: {
      const std::int64_t columns = spec.shape[spec.shape.rank() - 1];
      return {0.0f, 1.0f / std::sqrt(static_cast<float>(columns))};
    }
  }
}

Tensor random_tensor(const TensorSpec& spec, const SynthOptions& options, std::uint64_t stream) {
  const Distribution d = distribution(spec);
  const Tensor values = Tensor::empty(spec.shape, DType::kF32);
  auto* v = values.mutable_data<float>();
  const std::uint64_t base = random_bits(options.seed ^ random_bits(stream));
  parallel_for(values.numel(), 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      v[i] = d.mean + d.deviation * random_normal(base + static_cast<std::uint64_t>(i));
    }
  });
  return values.to(options.dtype).reshape(spec.stored_shape());
}

}  // namespace

void synthesize(const Config& config, const SynthOptions& options) {
  const auto architecture = make_architecture(config);
  if (!options.architecture.empty() && options.architecture != architecture->name()) {
    raise(ErrorKind::kInvalidArgument, "the configuration describes a {} model, not {}",
          architecture->name(), options.architecture);
  }
  std::error_code error;
  if (std::filesystem::exists(options.output, error)) {
    raise(ErrorKind::kInvalidArgument, "'{}' exists", options.output.string());
  }
  std::filesystem::path working = options.output;
  working += ".partial";
  std::filesystem::remove_all(working, error);
  std::filesystem::create_directories(working, error);
  if (error) raise(ErrorKind::kIo, "'{}': {}", working.string(), error.message());

  std::vector<TensorInfo> infos;
  std::vector<const TensorSpec*> specs;
  for (const TensorSpec& spec : architecture->tensors()) {
    if (spec.tied) continue;
    infos.push_back({spec.name, options.dtype, spec.stored_shape()});
    specs.push_back(&spec);
  }
  ShardedWriter output(working, infos, options.max_shard_bytes);
  Progress progress("making weights", "tensors", static_cast<std::int64_t>(specs.size()));
  for (std::size_t i = 0; i < specs.size(); ++i) {
    output.write(specs[i]->name, random_tensor(*specs[i], options, i));
    progress.advance(1);
  }
  output.finish();
  write_text_file(working / "config.json", json_text(config.json(), config.bare_nonfinite()));
  rename_durably(working, options.output);
}

}  // namespace aquatint
