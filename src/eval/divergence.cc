#include "eval/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/progress.h"
#include "base/threads.h"
#include "eval/statistics.h"
#include "eval/window_runner.h"

namespace aquatint {
namespace {

void check_same_tokens(const TextPlan& plan, const TextPlan& reference) {
  for (std::size_t s = 0; s < plan.sequences.size(); ++s) {
    const std::vector<TokenId>& ids = plan.sequences[s];
    const std::vector<TokenId>& expected = reference.sequences[s];
    const auto [at, expected_at] =
        std::mismatch(ids.begin(), ids.end(), expected.begin(), expected.end());
    if (at == ids.end() && expected_at == expected.end()) continue;
    const auto id = [](auto position, const std::vector<TokenId>& all) {
      return position == all.end() ? std::string("nothing") : std::to_string(*position);
    };
    raise(ErrorKind::kInvalidArgument,
          "the model and its reference tokenize '{}' differently: token {} is {} and {}", plan.name,
          at - ids.begin(), id(at, ids), id(expected_at, expected));
  }
  if (plan.special != reference.special) {
    raise(ErrorKind::kInvalidArgument,
          "the model and its reference have different beginning-of-text tokens: {} and {}",
          plan.special, reference.special);
  }
}

// Both models over one batch of windows, a round of rows at a time: the reference's logits of the
// round wait for the model's, which may come in other portions.
class Lockstep {
 public:
  Lockstep(Model& model, Model& reference, const TextPlan& plan, std::size_t batch)
      : vocab_(model.vocab_size()), model_(model, plan), reference_(reference, plan) {
    const auto rows = std::max(static_cast<std::size_t>(Model::kStepRows), batch);
    buffer_.resize(rows * static_cast<std::size_t>(vocab_));
  }

  // Writes the comparisons of the windows' scored tokens, window by window; returns behind the
  // last.
  RowDivergence* run(std::size_t first, std::size_t count, RowDivergence* out, Progress& progress) {
    reference_.start(first, count);
    progress.advance(model_.start(first, count));
    slots_.clear();
    for (const TextPlan::Item& item : model_.batch()) {
      slots_.push_back(out);
      out += item.window.scored();
    }
    while (!model_.finished()) {
      reference_.advance(Model::kStepRows, [&](const ScoredRows& rows) {
        std::copy_n(rows.logits, static_cast<std::int64_t>(rows.targets.size()) * vocab_,
                    buffer_.data() + rows.round_row * vocab_);
      });
      progress.advance(model_.advance(Model::kStepRows, [&](const ScoredRows& rows) {
        compare(rows, buffer_.data() + rows.round_row * vocab_, slots_[rows.slot] + rows.first);
      }));
    }
    return out;
  }

  double model_seconds() const { return model_.seconds(); }
  double reference_seconds() const { return reference_.seconds(); }

 private:
  void compare(const ScoredRows& rows, const float* reference, RowDivergence* out) const {
    const auto body = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        out[i] = compare_rows(reference + i * vocab_, rows.logits + i * vocab_, vocab_,
                              rows.targets[static_cast<std::size_t>(i)]);
        if (!std::isfinite(out[i].reference_nll)) {
          raise(ErrorKind::kNumeric, "the reference model's logits hold NaN or infinity");
        }
        if (!std::isfinite(out[i].nll) || !std::isfinite(out[i].kld)) {
          raise(ErrorKind::kNumeric, "the model's logits hold NaN or infinity");
        }
      }
    };
    parallel_for(static_cast<std::int64_t>(rows.targets.size()), 1, body);
  }

  std::int64_t vocab_;
  std::vector<float> buffer_;          // [rows of a round, vocab]: the reference's logits
  std::vector<RowDivergence*> slots_;  // where each window's comparisons go
  WindowRunner model_, reference_;
};

template <typename Field>
std::vector<double> column(std::span<const RowDivergence> rows, const Field& field) {
  std::vector<double> values(rows.size());
  std::transform(rows.begin(), rows.end(), values.begin(), field);
  return values;
}

}  // namespace

DivergenceResult summarize_divergence(const TextPlan& plan, std::span<const RowDivergence> rows,
                                      double seconds, double reference_seconds) {
  DivergenceResult result;
  result.model = make_perplexity_result(
      plan, column(rows, [](const RowDivergence& row) { return row.nll; }), seconds);
  result.reference = make_perplexity_result(
      plan, column(rows, [](const RowDivergence& row) { return row.reference_nll; }),
      reference_seconds);

  std::vector<double> klds = column(rows, [](const RowDivergence& row) { return row.kld; });
  const MeanAndError kld = mean_and_error(klds);
  result.mean_kld = kld.mean;
  result.mean_kld_error = kld.error;
  std::sort(klds.begin(), klds.end());
  result.median_kld = sorted_percentile(klds, 0.50);
  result.p90_kld = sorted_percentile(klds, 0.90);
  result.p95_kld = sorted_percentile(klds, 0.95);
  result.p99_kld = sorted_percentile(klds, 0.99);
  result.max_kld = klds.back();

  const MeanAndError same = mean_and_error(
      column(rows, [](const RowDivergence& row) { return row.same_top ? 1.0 : 0.0; }));
  result.top1_agreement = same.mean;
  result.top1_agreement_error = same.error;
  std::vector<double> changes = column(rows, [](const RowDivergence& row) {
    return std::exp(-row.nll) - std::exp(-row.reference_nll);
  });
  result.mean_probability_change = mean_and_error(changes).mean;
  for (double& change : changes) change *= change;
  result.rms_probability_change = std::sqrt(mean_and_error(changes).mean);
  return result;
}

DivergenceResult evaluate_divergence(Model& model, const Tokenizer& tokenizer, Model& reference,
                                     const Tokenizer& reference_tokenizer, const TextData& data,
                                     const PerplexityOptions& options) {
  if (model.vocab_size() != reference.vocab_size()) {
    raise(ErrorKind::kInvalidArgument,
          "the model has a vocabulary of {}, its reference one of {}; divergence needs the same",
          model.vocab_size(), reference.vocab_size());
  }
  const TextPlan plan = plan_text(data, reference_tokenizer, length_limits(reference), options);
  PerplexityOptions same_window = options;
  same_window.window = plan.options.window;
  check_same_tokens(plan_text(data, tokenizer, length_limits(model), same_window), plan);

  const auto batch = static_cast<std::size_t>(
      std::min(windows_per_batch(model, plan), windows_per_batch(reference, plan)));
  std::vector<RowDivergence> rows(static_cast<std::size_t>(plan.scored()));
  Progress progress("divergence on " + plan.name, "tokens", plan.rows());
  Lockstep lockstep(model, reference, plan, std::min(batch, plan.windows.size()));
  RowDivergence* out = rows.data();
  for (std::size_t first = 0; first < plan.windows.size(); first += batch) {
    out = lockstep.run(first, std::min(batch, plan.windows.size() - first), out, progress);
  }
  return summarize_divergence(plan, rows, lockstep.model_seconds(), lockstep.reference_seconds());
}

}  // namespace aquatint
