#include "eval/block_sweep.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <span>

#include "base/memory.h"
#include "base/progress.h"
#include "base/threads.h"
#include "models/model.h"

namespace aquatint {
namespace {

constexpr std::int64_t kStepRows = Model::kStepRows;  // rows that pass a block together
constexpr std::int64_t kLogitRows = 128;              // rows whose logits are held
constexpr int kInput = -1;                            // stage before block 0
constexpr int kNever = std::numeric_limits<int>::max();

// Stages of a model are its input layer, its blocks, and its output layer, number `blocks`.
int stage_of(const TensorPlan& tensor, int blocks) {
  const TensorSpec& spec = *tensor.spec;
  if (spec.block >= 0) return spec.block;
  return spec.role == Role::kHead ? blocks : kInput;
}

class BlockSweep {
 public:
  BlockSweep(RoundedTensors& rounded, const std::vector<SweepVariant>& variants,
             const TextPlan& text, const SweepOptions& options);
  std::vector<std::vector<RowDivergence>> run();

 private:
  // A variant, or the float model, which is the last.
  struct Run {
    std::string name;
    RoundedSource source;
    std::set<const TensorPlan*> rounded;
    std::size_t base = 0;         // the run it is like until `first`
    int first = kNever;           // stage where it differs from its base
    std::vector<float> hidden{};  // [rows, hidden size], from `first` on
  };
  struct BatchWindow {
    const TextPlan::Item* item;
    std::int64_t row;  // of its first token in the batch
  };

  bool touches(const Run& run, int stage) const;
  std::set<const TensorPlan*> rounded_in(const Run& run, int stage) const;
  const std::vector<float>& hidden_of(std::size_t run, int stage) const;
  std::size_t take_batch(std::size_t first);
  std::int64_t batch_work(std::size_t batches) const;
  void run_input();
  void embed(const InputLayer& input, Run& run);
  void run_block(int index, Progress& progress);
  void pass(const Block& block, std::vector<float>& hidden);
  void score(Progress& progress);
  void score_rows(const std::vector<const OutputLayer*>& outputs, const BatchWindow& window,
                  std::int64_t first, std::int64_t n);
  void logits(const OutputLayer& output, const float* hidden, std::int64_t n, float* logits);
  void compare(std::size_t run, const BatchWindow& window, std::int64_t first, std::int64_t n,
               const float* reference, const float* logits);

  RoundedTensors& rounded_;
  const Checkpoint& checkpoint_;
  const Architecture& architecture_;
  const TextPlan& text_;
  LoadOptions loading_;
  std::int64_t hidden_bytes_;
  int blocks_;
  Workspace workspace_;
  std::vector<Run> runs_;
  std::vector<BatchWindow> batch_;
  std::int64_t batch_rows_ = 0;
  std::vector<std::vector<RowDivergence>> results_;
  std::size_t scored_ = 0;  // tokens in the batches before this one
};

BlockSweep::BlockSweep(RoundedTensors& rounded, const std::vector<SweepVariant>& variants,
                       const TextPlan& text, const SweepOptions& options)
    : rounded_(rounded),
      checkpoint_(rounded.checkpoint()),
      architecture_(checkpoint_.architecture()),
      text_(text),
      hidden_bytes_(options.hidden_bytes),
      blocks_(static_cast<int>(architecture_.blocks())) {
  loading_.compute = kernels::DenseType::kF32;
  loading_.execution = options.execution;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const SweepVariant& variant = variants[i];
    AQUATINT_ASSERT(!variant.like || (*variant.like > i && *variant.like < variants.size()));
    runs_.push_back({variant.name, RoundedSource(rounded, variant.rounded), variant.rounded,
                     variant.like.value_or(variants.size())});
  }
  runs_.push_back({"float", RoundedSource(rounded, {}), {}, variants.size(), kInput});
  for (std::size_t i = 0; i < variants.size(); ++i) {
    Run& run = runs_[i];
    std::vector<const TensorPlan*> different;
    std::set_symmetric_difference(run.rounded.begin(), run.rounded.end(),
                                  runs_[run.base].rounded.begin(), runs_[run.base].rounded.end(),
                                  std::back_inserter(different), std::less<>());
    for (const TensorPlan* tensor : different) {
      run.first = std::min(run.first, stage_of(*tensor, blocks_));
    }
  }
  results_.assign(variants.size(),
                  std::vector<RowDivergence>(static_cast<std::size_t>(text.scored())));
}

bool BlockSweep::touches(const Run& run, int stage) const {
  return std::any_of(run.rounded.begin(), run.rounded.end(),
                     [&](const TensorPlan* tensor) { return stage_of(*tensor, blocks_) == stage; });
}

std::set<const TensorPlan*> BlockSweep::rounded_in(const Run& run, int stage) const {
  std::set<const TensorPlan*> tensors;
  for (const TensorPlan* tensor : run.rounded) {
    if (stage_of(*tensor, blocks_) == stage) tensors.insert(tensor);
  }
  return tensors;
}

// The hidden values with which a run arrives at a stage: its own, or those of a run it has not left
// yet.
const std::vector<float>& BlockSweep::hidden_of(std::size_t run, int stage) const {
  while (runs_[run].first >= stage && runs_[run].base != run) run = runs_[run].base;
  return runs_[run].hidden;
}

// Makes the batch of as many windows from `first` on as the budget allows; returns how many.
std::size_t BlockSweep::take_batch(std::size_t first) {
  batch_.clear();
  batch_rows_ = 0;
  const std::int64_t row_bytes =
      architecture_.hidden_size() * static_cast<std::int64_t>(sizeof(float) * runs_.size());
  for (std::size_t i = first; i < text_.windows.size(); ++i) {
    const std::int64_t rows = text_.windows[i].window.length();
    if (!batch_.empty() && (batch_rows_ + rows) * row_bytes > hidden_bytes_) break;
    batch_.push_back({&text_.windows[i], batch_rows_});
    batch_rows_ += rows;
  }
  const std::int64_t needed = batch_rows_ * row_bytes, available = available_memory_bytes();
  if (needed > available) {
    raise(ErrorKind::kOutOfMemory,
          "hidden values of {} variants over a window of {} tokens need {} of memory; {} are "
          "available (a shorter window or fewer variants need less)",
          runs_.size(), batch_rows_, format_bytes(needed), format_bytes(available));
  }
  return batch_.size();
}

// Runs of blocks in the whole sweep, and one per run for its logits.
std::int64_t BlockSweep::batch_work(std::size_t batches) const {
  std::int64_t work = 0;
  for (const Run& run : runs_) work += 1 + blocks_ - std::clamp(run.first, 0, blocks_);
  return work * static_cast<std::int64_t>(batches);
}

void BlockSweep::run_input() {
  const auto plain = architecture_.load_input(checkpoint_, loading_);
  for (Run& run : runs_) {
    if (run.first != kInput) continue;
    const auto own =
        touches(run, kInput) ? architecture_.load_input(run.source, loading_) : nullptr;
    embed(own ? *own : *plain, run);
  }
}

void BlockSweep::embed(const InputLayer& input, Run& run) {
  const std::int64_t hidden_size = architecture_.hidden_size();
  run.hidden.resize(static_cast<std::size_t>(batch_rows_ * hidden_size));
  for (const BatchWindow& window : batch_) {
    const auto tokens =
        window_input(window.item->window, text_.sequences[window.item->sequence], text_.special);
    const auto n = static_cast<std::int64_t>(tokens.size());
    for (std::int64_t past = 0; past < n; past += kStepRows) {
      const Workspace::Scope scope(workspace_);
      ForwardContext context{workspace_};
      const Segment segment{0, std::min(kStepRows, n - past), past, nullptr};
      input.forward(context, std::span(&segment, 1), tokens.data() + past, segment.tokens,
                    run.hidden.data() + (window.row + past) * hidden_size);
    }
  }
}

// Runs that leave another one here take its hidden values before it passes the block: it comes
// behind them in the list.
void BlockSweep::run_block(int index, Progress& progress) {
  const auto plain = architecture_.load_block(index, checkpoint_, loading_);
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    Run& run = runs_[i];
    if (run.first > index) continue;
    progress.relabel(fmt::format("block {} of {}, {}", index + 1, blocks_, run.name));
    if (run.first == index) run.hidden = hidden_of(i, index);
    const auto own =
        touches(run, index) ? architecture_.load_block(index, run.source, loading_) : nullptr;
    pass(own ? *own : *plain, run.hidden);
    progress.advance(1);
  }
  rounded_.forget(index);
  checkpoint_.release(index);
}

void BlockSweep::pass(const Block& block, std::vector<float>& hidden) {
  const std::int64_t hidden_size = architecture_.hidden_size();
  const auto state = block.new_state();
  for (const BatchWindow& window : batch_) {
    state->reset();
    const std::int64_t n = window.item->window.length();
    for (std::int64_t past = 0; past < n; past += kStepRows) {
      const Workspace::Scope scope(workspace_);
      ForwardContext context{workspace_};
      const Segment segment{0, std::min(kStepRows, n - past), past, state.get()};
      block.forward(context, std::span(&segment, 1), segment.tokens,
                    hidden.data() + (window.row + past) * hidden_size, std::nullopt);
    }
  }
}

void BlockSweep::score(Progress& progress) {
  // Output layers by what is quantized in them; most variants share the float one.
  std::map<std::set<const TensorPlan*>, std::unique_ptr<OutputLayer>> layers;
  std::vector<const OutputLayer*> outputs;
  for (const Run& run : runs_) {
    auto& layer = layers[rounded_in(run, blocks_)];
    if (!layer) layer = architecture_.load_output(run.source, loading_);
    outputs.push_back(layer.get());
  }
  progress.relabel("predictions");
  for (const BatchWindow& window : batch_) {
    const std::int64_t scored = window.item->window.scored();
    for (std::int64_t first = 0; first < scored; first += kLogitRows) {
      score_rows(outputs, window, first, std::min(kLogitRows, scored - first));
    }
    scored_ += static_cast<std::size_t>(scored);
  }
  progress.advance(static_cast<std::int64_t>(runs_.size()));
}

// Scored tokens [first, first + n) of a window.
void BlockSweep::score_rows(const std::vector<const OutputLayer*>& outputs,
                            const BatchWindow& window, std::int64_t first, std::int64_t n) {
  const Workspace::Scope scope(workspace_);
  const std::int64_t vocab = architecture_.vocab_size();
  const std::int64_t row = window.row + window.item->window.lead() + first;
  float* reference = workspace_.take<float>(n * vocab);
  float* model = workspace_.take<float>(n * vocab);
  const auto hidden = [&](std::size_t run) {
    return hidden_of(run, blocks_).data() + row * architecture_.hidden_size();
  };
  const std::size_t last = runs_.size() - 1;
  logits(*outputs[last], hidden(last), n, reference);
  for (std::size_t i = 0; i < last; ++i) {
    logits(*outputs[i], hidden(i), n, model);
    compare(i, window, first, n, reference, model);
  }
}

void BlockSweep::logits(const OutputLayer& output, const float* hidden, std::int64_t n,
                        float* logits) {
  const Workspace::Scope scope(workspace_);
  ForwardContext context{workspace_};
  float* normed = workspace_.take<float>(n * architecture_.hidden_size());
  output.normalize(context, hidden, n, normed);
  output.logits(context, normed, n, logits);
}

void BlockSweep::compare(std::size_t run, const BatchWindow& window, std::int64_t first,
                         std::int64_t n, const float* reference, const float* logits) {
  const std::int64_t vocab = architecture_.vocab_size();
  const std::vector<TokenId>& text = text_.sequences[window.item->sequence];
  const auto target = static_cast<std::size_t>(window.item->window.score_begin + first);
  RowDivergence* out = results_[run].data() + scored_ + first;
  parallel_for(n, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      out[i] = compare_rows(reference + i * vocab, logits + i * vocab, vocab,
                            text[target + static_cast<std::size_t>(i)]);
      if (!std::isfinite(out[i].reference_nll)) {
        raise(ErrorKind::kNumeric, "the float model's logits hold NaN or infinity");
      }
      if (!std::isfinite(out[i].nll) || !std::isfinite(out[i].kld)) {
        raise(ErrorKind::kNumeric, "with '{}' quantized the logits hold NaN or infinity",
              runs_[run].name);
      }
    }
  });
}

std::vector<std::vector<RowDivergence>> BlockSweep::run() {
  std::size_t batches = 0;
  for (std::size_t first = 0; first < text_.windows.size(); ++batches) first += take_batch(first);
  Progress progress("sensitivity", "steps", batch_work(batches));
  for (std::size_t first = 0; first < text_.windows.size();) {
    first += take_batch(first);
    run_input();
    for (int index = 0; index < blocks_; ++index) run_block(index, progress);
    score(progress);
    rounded_.forget(-1);
    checkpoint_.release(-1);
  }
  return std::move(results_);
}

}  // namespace

std::vector<std::vector<RowDivergence>> sweep_variants(RoundedTensors& rounded,
                                                       const std::vector<SweepVariant>& variants,
                                                       const TextPlan& text,
                                                       const SweepOptions& options) {
  return BlockSweep(rounded, variants, text, options).run();
}

}  // namespace aquatint
