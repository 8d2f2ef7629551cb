#include "eval/window_runner.h"

#include <algorithm>
#include <chrono>

namespace aquatint {
namespace {

// More windows than this make a model's steps no faster: their shares of a step get short.
constexpr std::int64_t kMostWindows = 4;
constexpr std::int64_t kMostStateBytes = std::int64_t{512} << 20;

class Stopwatch {
 public:
  explicit Stopwatch(double& seconds)
      : seconds_(seconds), start_(std::chrono::steady_clock::now()) {}
  ~Stopwatch() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace

std::int64_t WindowRunner::start(std::size_t first, std::size_t count) {
  const Stopwatch stopwatch(seconds_);
  batch_ = std::span(plan_.windows).subspan(first, count);
  while (slots_.size() < count) slots_.push_back({{}, 0, model_.new_state()});
  std::vector<ModelInput> leads;
  for (std::size_t i = 0; i < count; ++i) {
    Slot& slot = slots_[i];
    const Window& window = batch_[i].window;
    slot.input = window_input(window, plan_.sequences[batch_[i].sequence], plan_.special);
    slot.done = 0;
    slot.state.reset();
    if (window.lead() > 0) {
      const auto lead = static_cast<std::size_t>(window.lead());
      leads.push_back({std::span<const TokenId>(slot.input).first(lead), &slot.state});
    }
  }
  if (!leads.empty()) model_.run(leads, LogitsFor::kNone, {});
  std::int64_t tokens = 0;
  for (const ModelInput& lead : leads) tokens += static_cast<std::int64_t>(lead.tokens.size());
  return tokens;
}

std::int64_t WindowRunner::advance(std::int64_t rows, const RowSink& sink) {
  const Stopwatch stopwatch(seconds_);
  std::vector<std::size_t> live;
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    if (slots_[i].done < batch_[i].window.scored()) live.push_back(i);
  }
  if (live.empty()) return 0;
  const std::int64_t share =
      std::max<std::int64_t>(1, rows / static_cast<std::int64_t>(live.size()));
  std::vector<ModelInput> inputs;
  std::vector<std::int64_t> round_rows;
  std::int64_t total = 0;
  for (const std::size_t i : live) {
    const Window& window = batch_[i].window;
    const std::int64_t n = std::min(share, window.scored() - slots_[i].done);
    const auto begin = static_cast<std::size_t>(window.lead() + slots_[i].done);
    const std::span<const TokenId> input = slots_[i].input;
    inputs.push_back({input.subspan(begin, static_cast<std::size_t>(n)), &slots_[i].state});
    round_rows.push_back(total);
    total += n;
  }
  model_.run(inputs, LogitsFor::kEveryToken,
             [&](std::size_t sequence, std::int64_t first, std::int64_t n, const float* logits) {
               const TextPlan::Item& item = batch_[live[sequence]];
               const std::int64_t row = slots_[live[sequence]].done + first;
               const auto target = static_cast<std::size_t>(item.window.score_begin + row);
               const std::span<const TokenId> text = plan_.sequences[item.sequence];
               sink({live[sequence], row, round_rows[sequence] + first,
                     text.subspan(target, static_cast<std::size_t>(n)), logits});
             });
  for (std::size_t i = 0; i < live.size(); ++i) {
    slots_[live[i]].done += static_cast<std::int64_t>(inputs[i].tokens.size());
  }
  return total;
}

bool WindowRunner::finished() const {
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    if (slots_[i].done < batch_[i].window.scored()) return false;
  }
  return true;
}

std::int64_t windows_per_batch(const Model& model, const TextPlan& plan) {
  if (plan.options.batch > 0) return plan.options.batch;
  const std::int64_t state = std::max<std::int64_t>(1, model.state_bytes(plan.options.window));
  return std::clamp<std::int64_t>(kMostStateBytes / state, 1, kMostWindows);
}

}  // namespace aquatint
