#include "runtime/bench.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "base/progress.h"

namespace aquatint {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
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
  const std::vector<TokenChoice> likeliest(inputs.size());

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
    model.next_tokens(inputs, likeliest, model.vocab_size());
    const double prefill_seconds = seconds_since(start);
    const std::int64_t steps = run < 0 ? 1 : options.generated_tokens;
    start = Clock::now();
    for (std::int64_t step = 0; step < steps; ++step) {
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto at = (i + static_cast<std::size_t>(step)) % tokens.size();
        inputs[i].tokens = std::span(tokens).subspan(at, 1);
      }
      model.next_tokens(inputs, likeliest, model.vocab_size());
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
