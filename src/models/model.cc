#include "models/model.h"

#include <algorithm>

#include "base/memory.h"
#include "base/progress.h"

namespace aquatint {
namespace {

// Rows of logits made at a time, so that their memory does not grow with the step.
constexpr std::int64_t kLogitRows = 128;

}  // namespace

std::int64_t SequenceState::nbytes() const {
  std::size_t total = 0;
  for (const auto& block : blocks_) total += block->nbytes();
  return static_cast<std::int64_t>(total);
}

SequenceState SequenceState::clone() const {
  SequenceState copy;
  for (const auto& block : blocks_) copy.blocks_.push_back(block->clone());
  copy.length_ = length_;
  return copy;
}

void SequenceState::reset() {
  for (const auto& block : blocks_) block->reset();
  length_ = 0;
}

std::vector<std::pair<std::string, Tensor>> SequenceState::tensors() const {
  std::vector<std::pair<std::string, Tensor>> all;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    for (auto& [name, tensor] : blocks_[i]->tensors()) {
      all.emplace_back(fmt::format("{}.{}", i, name), tensor);
    }
  }
  return all;
}

void SequenceState::assign(const std::vector<std::pair<std::string, Tensor>>& tensors,
                           std::int64_t length) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const std::string prefix = fmt::format("{}.", i);
    std::vector<std::pair<std::string, Tensor>> mine;
    while (next < tensors.size() && tensors[next].first.starts_with(prefix)) {
      mine.emplace_back(tensors[next].first.substr(prefix.size()), tensors[next].second);
      ++next;
    }
    blocks_[i]->assign(mine);
  }
  if (next != tensors.size()) {
    raise(ErrorKind::kCorrupt, "saved state does not fit this model: '{}' is left over",
          tensors[next].first);
  }
  length_ = length;
}

Model Model::load(const Checkpoint& checkpoint, const LoadOptions& requested) {
  Model model;
  LoadOptions options = requested;
  if (!options.compute) {
    options.compute =
        checkpoint.quantization() ? kernels::DenseType::kBF16 : kernels::DenseType::kF32;
  }
  model.compute_ = *options.compute;
  model.architecture_ = checkpoint.shared_architecture();
  const Architecture& architecture = *model.architecture_;
  Progress progress("loading " + checkpoint.folder().filename().string(), "blocks",
                    architecture.blocks());
  model.input_ = architecture.load_input(checkpoint, options);
  for (std::int64_t i = 0; i < architecture.blocks(); ++i) {
    model.blocks_.push_back(architecture.load_block(i, checkpoint, options));
    checkpoint.release(static_cast<int>(i));
    progress.advance(1);
  }
  model.output_ = architecture.load_output(checkpoint, options);
  checkpoint.release(-1);
  release_free_memory();
  return model;
}

SequenceState Model::new_state() const {
  SequenceState state;
  for (const auto& block : blocks_) state.blocks_.push_back(block->new_state());
  return state;
}

std::int64_t Model::weight_bytes() const {
  std::size_t total = input_->nbytes() + output_->nbytes();
  for (const auto& block : blocks_) total += block->nbytes();
  return static_cast<std::int64_t>(total);
}

void Model::check(std::span<const ModelInput> inputs) const {
  for (const ModelInput& input : inputs) {
    for (const std::int32_t token : input.tokens) {
      if (token < 0 || token >= vocab_size()) {
        raise(ErrorKind::kInvalidArgument, "token {} is outside the model's vocabulary of {}",
              token, vocab_size());
      }
    }
    const std::int64_t end = input.state->length() + static_cast<std::int64_t>(input.tokens.size());
    const std::int64_t limit = architecture_->max_positions();
    if (limit > 0 && end > limit) {
      raise(ErrorKind::kInvalidArgument, "a sequence of {} tokens; the model has {} positions", end,
            limit);
    }
  }
}

void Model::run(std::span<const ModelInput> inputs, LogitsFor wanted, const LogitsSink& sink) {
  check(inputs);
  std::vector<std::int64_t> done(inputs.size(), 0);
  while (true) {
    std::vector<StepPart> parts;
    std::int64_t live = 0;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      live += done[i] < static_cast<std::int64_t>(inputs[i].tokens.size()) ? 1 : 0;
    }
    if (live == 0) return;
    std::int64_t room = kStepRows;
    for (std::size_t i = 0; i < inputs.size() && room > 0; ++i) {
      const std::int64_t left = static_cast<std::int64_t>(inputs[i].tokens.size()) - done[i];
      if (left == 0) continue;
      const std::int64_t n = std::min({left, room, std::max<std::int64_t>(1, kStepRows / live)});
      parts.push_back({i, done[i], n});
      done[i] += n;
      room -= n;
    }
    step(inputs, parts, wanted, sink);
  }
}

void Model::step(std::span<const ModelInput> inputs, const std::vector<StepPart>& parts,
                 LogitsFor wanted, const LogitsSink& sink) {
  const Workspace::Scope scope(workspace_);
  ForwardContext context{workspace_, taps_};
  const std::int64_t hidden_size = architecture_->hidden_size();
  std::int64_t rows = 0;
  for (const StepPart& part : parts) rows += part.tokens;

  auto* ids = workspace_.take<std::int32_t>(rows);
  auto* positions = workspace_.take<std::int32_t>(rows);
  float* hidden = workspace_.take<float>(rows * hidden_size);
  std::vector<Segment> segments;
  std::int64_t row = 0;
  for (const StepPart& part : parts) {
    const ModelInput& input = inputs[part.sequence];
    const std::int64_t past = input.state->length_;
    for (std::int64_t t = 0; t < part.tokens; ++t) {
      ids[row + t] = input.tokens[static_cast<std::size_t>(part.first + t)];
      positions[row + t] = static_cast<std::int32_t>(past + t);
    }
    segments.push_back({row, part.tokens, past, nullptr});
    row += part.tokens;
  }

  input_->forward(ids, positions, rows, hidden);
  context.tap("hidden.", "0", hidden, rows, hidden_size);
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    for (std::size_t p = 0; p < parts.size(); ++p) {
      segments[p].state = inputs[parts[p].sequence].state->blocks_[b].get();
    }
    blocks_[b]->forward(context, segments, rows, hidden);
    if (taps_ != nullptr && b + 1 < blocks_.size()) {
      context.tap("hidden.", std::to_string(b + 1).c_str(), hidden, rows, hidden_size);
    }
  }
  for (const StepPart& part : parts) inputs[part.sequence].state->length_ += part.tokens;

  // As in the Python implementations, the last hidden values are those after the final
  // normalization.
  float* normed = workspace_.take<float>(rows * hidden_size);
  output_->normalize(hidden, rows, normed);
  if (taps_ != nullptr) {
    context.tap("hidden.", std::to_string(blocks_.size()).c_str(), normed, rows, hidden_size);
  }
  emit_logits(context, inputs, parts, normed, wanted, sink);
}

// Rows whose logits are wanted are gathered, so that sequences that decode one token each share one
// product, and multiplied kLogitRows at a time.
void Model::emit_logits(ForwardContext& context, std::span<const ModelInput> inputs,
                        const std::vector<StepPart>& parts, const float* normed, LogitsFor wanted,
                        const LogitsSink& sink) {
  struct Run {
    std::size_t sequence;
    std::int64_t first, row, n;  // n tokens from `first` on, whose normed rows start at `row`
  };
  std::vector<Run> runs;
  std::int64_t row = 0, wanted_rows = 0;
  for (const StepPart& part : parts) {
    const auto total = static_cast<std::int64_t>(inputs[part.sequence].tokens.size());
    Run run{part.sequence, part.first, row, part.tokens};
    if (wanted == LogitsFor::kLastToken) {
      run = {part.sequence, total - 1, row + part.tokens - 1,
             part.first + part.tokens == total ? std::int64_t{1} : std::int64_t{0}};
    }
    for (std::int64_t t = 0; t < run.n; t += kLogitRows) {
      runs.push_back({run.sequence, run.first + t, run.row + t, std::min(kLogitRows, run.n - t)});
    }
    wanted_rows += run.n;
    row += part.tokens;
  }
  if (runs.empty()) return;

  const Workspace::Scope scope(workspace_);
  const std::int64_t hidden_size = architecture_->hidden_size();
  const std::int64_t block = std::min(kLogitRows, wanted_rows);
  float* gathered = workspace_.take<float>(block * hidden_size);
  float* logits = workspace_.take<float>(block * vocab_size());
  for (std::size_t begin = 0; begin < runs.size();) {
    std::size_t end = begin;
    std::int64_t n = 0;
    for (; end < runs.size() && n + runs[end].n <= block; ++end) {
      std::copy_n(normed + runs[end].row * hidden_size, runs[end].n * hidden_size,
                  gathered + n * hidden_size);
      n += runs[end].n;
    }
    output_->logits(context, gathered, n, logits);
    const float* at = logits;
    for (; begin < end; ++begin) {
      sink(runs[begin].sequence, runs[begin].first, runs[begin].n, at);
      at += runs[begin].n * vocab_size();
    }
  }
}

std::span<const float> Model::run(std::span<const std::int32_t> tokens, SequenceState& state) {
  AQUATINT_ASSERT(!tokens.empty());
  const ModelInput input{tokens, &state};
  run(std::span<const ModelInput>(&input, 1), LogitsFor::kLastToken,
      [&](std::size_t, std::int64_t, std::int64_t, const float* logits) {
        last_logits_.assign(logits, logits + vocab_size());
      });
  return last_logits_;
}

}  // namespace aquatint
