#include "runtime/bench.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "base/progress.h"
#include "base/threads.h"
#include "kernels/matmul/matmul.h"

namespace aquatint {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Best of several timings of `work`, in seconds.
template <typename Work>
double best_seconds(int tries, const Work& work) {
  double best = 1e30;
  for (int i = 0; i < tries; ++i) {
    const auto start = Clock::now();
    work();
    best = std::min(best, seconds_since(start));
  }
  return best;
}

double measure_read_bandwidth() {
  constexpr std::int64_t kBytes = std::int64_t{1} << 29;
  const Tensor memory = Tensor::zeros({kBytes / 8}, DType::kI64);
  const auto* words = memory.data<std::int64_t>();
  std::int64_t sums[256] = {};
  const double seconds = best_seconds(5, [&] {
    parallel_for(kBytes / 8, 4096, [&](std::int64_t begin, std::int64_t end) {
      std::int64_t sum[16] = {};
      for (std::int64_t i = begin; i + 16 <= end; i += 16) {
        for (int j = 0; j < 16; ++j) sum[j] ^= words[i + j];
      }
      for (int j = 1; j < 16; ++j) sum[0] ^= sum[j];
      sums[begin * 200 / (kBytes / 8)] = sum[0];
    });
  });
  volatile std::int64_t used = sums[0] ^ sums[100];  // so that the reads are not dropped
  (void)used;
  return static_cast<double>(kBytes) / seconds;
}

Rate make_rate(std::vector<double> rates) {
  std::sort(rates.begin(), rates.end());
  return {rates[rates.size() / 2], rates.front(), rates.back()};
}

std::vector<std::int32_t> random_tokens(std::int64_t n, std::int64_t vocab) {
  std::mt19937 random(1);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(n));
  for (auto& token : tokens) {
    token = static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(vocab));
  }
  return tokens;
}

}  // namespace

Ceilings measure_ceilings() {
  constexpr std::int64_t kM = 512, kN = 2048, kK = 2048;
  constexpr double kOps = 2.0 * kM * kN * kK;
  constexpr int kTries = 8;
  Ceilings ceilings;
  ceilings.read_bytes_per_second = measure_read_bandwidth();
  const Tensor weight = Tensor::zeros({kN, kK}, DType::kF32);
  const Tensor x = Tensor::zeros({kM, kK}, DType::kF32);
  const Tensor y = Tensor::zeros({kM, kN}, DType::kF32);
  const auto f32 = kernels::DenseWeights::pack(weight, kernels::DenseType::kF32);
  ceilings.f32_flops =
      kOps / best_seconds(kTries, [&] {
        kernels::matmul_f32(x.data<float>(), kM, f32, nullptr, y.mutable_data<float>(), kN);
      });
  const auto bf16 = kernels::DenseWeights::pack(weight, kernels::DenseType::kBF16);
  const Tensor x16 = x.to(DType::kBF16);
  if (bf16.type() == kernels::DenseType::kBF16) {
    ceilings.bf16_flops = kOps / best_seconds(kTries, [&] {
                            kernels::matmul_bf16(x16.data<std::uint16_t>(), kM, bf16, nullptr,
                                                 y.mutable_data<float>(), kN);
                          });
  }
  const Tensor w8 = Tensor::zeros({kN, kK}, DType::kI8);
  const Tensor x8 = Tensor::zeros({kM, kK}, DType::kU8);
  const Tensor y32 = Tensor::zeros({kM, kN}, DType::kI32);
  const auto int8 = kernels::Int8Weights::pack(w8.data<std::int8_t>(), kN, kK);
  ceilings.int8_ops =
      kOps / best_seconds(kTries, [&] {
        kernels::matmul_u8s8(x8.data<std::uint8_t>(), kM, int8, y32.mutable_data<std::int32_t>());
      });
  return ceilings;
}

BenchResult run_bench(Model& model, const BenchOptions& options) {
  const std::int64_t batch = options.batch, prompt = options.prompt_tokens;
  const std::int64_t limit = model.architecture().max_positions();
  if (batch < 1 || prompt < 1 || options.generated_tokens < 1 || options.repeats < 1) {
    raise(ErrorKind::kInvalidArgument,
          "batch, prompt tokens, generated tokens and repeats must be at least 1");
  }
  if (limit > 0 && prompt + options.generated_tokens > limit) {
    raise(ErrorKind::kInvalidArgument, "{} + {} tokens; the model has {} positions", prompt,
          options.generated_tokens, limit);
  }
  const auto tokens = random_tokens(batch * prompt, model.vocab_size());
  std::vector<SequenceState> states;
  for (std::int64_t i = 0; i < batch; ++i) states.push_back(model.new_state());
  std::vector<ModelInput> inputs(static_cast<std::size_t>(batch));
  const auto ignore = [](std::size_t, std::int64_t, std::int64_t, const float*) {};

  BenchResult result;
  std::vector<double> prefill, decode;
  Progress progress("measuring", "runs", options.repeats + 1);
  for (int run = -1; run < options.repeats; ++run) {  // the first run warms up
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      states[i].reset();
      inputs[i] = {std::span(tokens).subspan(i * static_cast<std::size_t>(prompt),
                                             static_cast<std::size_t>(prompt)),
                   &states[i]};
    }
    auto start = Clock::now();
    model.run(inputs, LogitsFor::kLastToken, ignore);
    const double prefill_seconds = seconds_since(start);
    const std::int64_t steps = run < 0 ? 1 : options.generated_tokens;
    start = Clock::now();
    for (std::int64_t step = 0; step < steps; ++step) {
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto at = (i + static_cast<std::size_t>(step)) % tokens.size();
        inputs[i].tokens = std::span(tokens).subspan(at, 1);
      }
      model.run(inputs, LogitsFor::kLastToken, ignore);
    }
    const double decode_seconds = seconds_since(start);
    progress.advance(1);
    if (run < 0) continue;
    prefill.push_back(static_cast<double>(batch * prompt) / prefill_seconds);
    decode.push_back(static_cast<double>(batch * steps) / decode_seconds);
  }
  result.prefill = make_rate(prefill);
  result.decode = make_rate(decode);
  result.weight_bytes = model.weight_bytes();
  for (const SequenceState& state : states) result.state_bytes += state.nbytes();
  for (const TensorSpec& spec : model.architecture().tensors()) {
    if (is_linear(spec.role)) result.macs_per_token += spec.shape.numel();
  }
  result.decode_bytes = result.weight_bytes - model.input_bytes() + result.state_bytes;
  return result;
}

}  // namespace aquatint
