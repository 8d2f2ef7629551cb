#include "quantize/block_runner.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "models/wrapped_source.h"

namespace aquatint {
namespace {

// Splits what it is shown into the rows of each sequence.
class PerSequence : public TapSink {
 public:
  PerSequence(TapSink& taps, std::span<const Segment> segments)
      : taps_(taps), segments_(segments) {}

  bool wants(const std::string& name) override { return taps_.wants(name); }

  void record(const std::string& name, const float* values, std::int64_t rows,
              std::int64_t columns) override {
    AQUATINT_ASSERT(rows == segments_.back().first_row + segments_.back().tokens);
    for (const Segment& segment : segments_) {
      taps_.record(name, values + segment.first_row * columns, segment.tokens, columns);
    }
  }

 private:
  TapSink& taps_;
  std::span<const Segment> segments_;
};

// A source whose head has one output, so that what enters the head can be seen without the memory
// and the time of all logits.
class WithoutHead : public WrappedSource {
 public:
  WithoutHead(const WeightSource& source, const TensorSpec& head)
      : WrappedSource(source), head_(head) {}

  LinearWeights linear(const std::string& module) const override {
    if (module != head_.module()) return inner().linear(module);
    return {module, Tensor::zeros({1, head_.shape[1]}, DType::kF32), Tensor(),
            ActivationScheme::kFloat};
  }

 private:
  const TensorSpec& head_;
};

const TensorSpec& head_of(const Architecture& architecture) {
  const auto& tensors = architecture.tensors();
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [](const TensorSpec& t) { return t.role == Role::kHead; });
  AQUATINT_ASSERT(found != tensors.end());
  return *found;
}

std::string hidden_name(std::int64_t index) {
  return fmt::format("hidden.{}", index);
}

void check_hidden(const float* values, std::int64_t n, std::int64_t index) {
  if (std::all_of(values, values + n, [](float v) { return std::isfinite(v); })) return;
  raise(ErrorKind::kNumeric, "calibration: NaN or infinity among the values of tap '{}'",
        hidden_name(index));
}

void check_sequence(const Architecture& architecture, const std::vector<TokenId>& sequence) {
  AQUATINT_ASSERT(!sequence.empty());
  for (const TokenId token : sequence) {
    if (token >= 0 && token < architecture.vocab_size()) continue;
    raise(ErrorKind::kInvalidArgument,
          "calibration: token {} is outside the model's vocabulary of {}", token,
          architecture.vocab_size());
  }
  const std::int64_t limit = architecture.max_positions();
  if (limit == 0 || static_cast<std::int64_t>(sequence.size()) <= limit) return;
  raise(ErrorKind::kInvalidArgument,
        "calibration: a sequence of {} tokens; the model has {} positions", sequence.size(), limit);
}

// Rows of all of them, once they are checked.
std::int64_t count_rows(const Architecture& architecture,
                        const std::vector<std::vector<TokenId>>& sequences) {
  std::int64_t rows = 0;
  for (const auto& sequence : sequences) {
    check_sequence(architecture, sequence);
    rows += static_cast<std::int64_t>(sequence.size());
  }
  return rows;
}

}  // namespace

BlockRunner::BlockRunner(const Architecture& architecture,
                         const std::vector<std::vector<TokenId>>& sequences,
                         const CalibrationOptions& options)
    : architecture_(architecture),
      hidden_(count_rows(architecture, sequences), architecture.hidden_size(), options.hidden_bytes,
              options.spill_folder) {
  make_steps(sequences, options.batch_tokens);
}

void BlockRunner::make_steps(const std::vector<std::vector<TokenId>>& sequences,
                             std::int64_t batch_tokens) {
  std::int64_t first = 0;
  for (const auto& sequence : sequences) {
    const auto tokens = static_cast<std::int64_t>(sequence.size());
    if (steps_.empty() || steps_.back().rows + tokens > batch_tokens) {
      steps_.emplace_back();
      steps_.back().first_row = first;
    }
    Step& step = steps_.back();
    step.segments.push_back({step.rows, tokens, 0, nullptr});
    step.tokens.insert(step.tokens.end(), sequence.begin(), sequence.end());
    step.rows += tokens;
    first += tokens;
  }
}

void BlockRunner::run_input(const InputLayer& input, TapSink& taps) {
  for (const Step& step : steps_) {
    const Workspace::Scope scope(workspace_);
    PerSequence each(taps, step.segments);
    ForwardContext context{workspace_, &each};
    float* hidden = hidden_.place(step.first_row, step.rows);
    const std::int64_t columns = architecture_.hidden_size();
    input.forward(context, step.segments, step.tokens.data(), step.rows, hidden);
    check_hidden(hidden, step.rows * columns, 0);
    context.tap("hidden.", "0", hidden, step.rows, columns);
    hidden_.store();
  }
}

void BlockRunner::run_block(std::int64_t index, const Block& block, TapSink& taps) {
  const std::int64_t columns = architecture_.hidden_size();
  for (const Step& step : steps_) {
    const Workspace::Scope scope(workspace_);
    PerSequence each(taps, step.segments);
    ForwardContext context{workspace_, &each};
    std::vector<std::unique_ptr<BlockState>> states;
    std::vector<Segment> segments = step.segments;
    for (Segment& segment : segments) {
      states.push_back(block.new_state());
      segment.state = states.back().get();
    }
    float* hidden = hidden_.load(step.first_row, step.rows);
    block.forward(context, segments, step.rows, hidden, std::nullopt);
    check_hidden(hidden, step.rows * columns, index + 1);
    if (index + 1 < architecture_.blocks()) {
      context.tap(hidden_name(index + 1), "", hidden, step.rows, columns);
    }
    hidden_.store();
  }
}

void BlockRunner::run_output(const WeightSource& source, const LoadOptions& load, TapSink& taps) {
  const TensorSpec& head = head_of(architecture_);
  const bool logits = taps.wants(head.module() + ".output");
  if (!logits && !taps.wants(head.tap) && !taps.wants(hidden_name(architecture_.blocks()))) return;
  const WithoutHead without(source, head);
  const auto output = architecture_.load_output(logits ? source : without, load);
  for (const Step& step : steps_) run_output_step(step, *output, logits, taps);
}

// Logits are as wide as the vocabulary, so those of one sequence are made at a time.
void BlockRunner::run_output_step(const Step& step, const OutputLayer& output, bool all_logits,
                                  TapSink& taps) {
  const Workspace::Scope scope(workspace_);
  PerSequence each(taps, step.segments);
  ForwardContext context{workspace_, &each};
  const std::int64_t columns = architecture_.hidden_size();
  const float* hidden = hidden_.load(step.first_row, step.rows);
  float* normed = workspace_.take<float>(step.rows * columns);
  output.normalize(context, hidden, step.rows, normed);
  context.tap(hidden_name(architecture_.blocks()), "", normed, step.rows, columns);
  for (const Segment& segment : step.segments) {
    const Workspace::Scope logits_scope(workspace_);
    ForwardContext one{workspace_, &taps};
    auto* logits =
        workspace_.take<float>(segment.tokens * (all_logits ? architecture_.vocab_size() : 1));
    output.logits(one, normed + segment.first_row * columns, segment.tokens, logits);
  }
}

}  // namespace aquatint
