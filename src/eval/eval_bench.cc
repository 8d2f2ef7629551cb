// Evaluation against the model alone: how much scoring adds to running the model, what windows run
// together gain, and the reductions over the vocabulary against reading the logits once.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <vector>

#include "eval/log_softmax.h"
#include "eval/perplexity.h"
#include "eval/window_runner.h"

namespace aquatint {
namespace {

double best_seconds(int times, const std::function<void()>& body) {
  double best = 1e30;
  for (int i = 0; i < times; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best = std::min(best, elapsed.count());
  }
  return best;
}

std::vector<float> logits_row(std::int64_t n) {
  std::vector<float> row(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i * 7919 % 1000) * 0.01F;
  return row;
}

// GB/s of logits read on one thread, and the share of the rate at which argmax reads them.
void report_row(benchmark::State& state, double bytes, const std::function<void()>& body) {
  const std::vector<float> row = logits_row(state.range(0));
  const double read =
      best_seconds(50, [&] { benchmark::DoNotOptimize(argmax(row.data(), state.range(0))); });
  double best = 1e30;
  for (auto _ : state) best = std::min(best, best_seconds(50, body));
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["share_of_argmax"] =
      bytes / best / (static_cast<double>(state.range(0) * 4) / read);
}

void log_sum_exp_bench(benchmark::State& state) {
  const std::vector<float> row = logits_row(state.range(0));
  report_row(state, static_cast<double>(state.range(0) * 4),
             [&] { benchmark::DoNotOptimize(log_sum_exp(row.data(), state.range(0))); });
}

void compare_rows_bench(benchmark::State& state) {
  const std::vector<float> row = logits_row(state.range(0));
  std::vector<float> other = row;
  std::reverse(other.begin(), other.end());
  report_row(state, static_cast<double>(state.range(0) * 8), [&] {
    benchmark::DoNotOptimize(compare_rows(row.data(), other.data(), state.range(0), 0));
  });
}

struct Subject {
  Subject()
      : model(Model::load(Checkpoint::open(kFolder), {})),
        tokenizer(Tokenizer::open(kFolder)),
        data(read_text_data("../shared/data/books_valid.txt")) {}
  static constexpr const char* kFolder = "../shared/models/gla";
  Model model;
  Tokenizer tokenizer;
  TextData data;
};

// Tokens per second of llama.cpp windows by windows run together, and the share of what running the
// same rows without scoring reaches.
void perplexity_bench(benchmark::State& state) {
  if (!std::filesystem::exists(Subject::kFolder)) {
    state.SkipWithError("run from the repository's root with ../shared beside it");
    return;
  }
  static Subject subject;
  PerplexityOptions options;
  options.protocol = state.range(1) == 0 ? Protocol::kGptq : Protocol::kLlamaCpp;
  options.batch = state.range(0);
  options.max_tokens = 8192;
  const TextPlan plan =
      plan_text(subject.data, subject.tokenizer, length_limits(subject.model), options);
  const auto run_only = [&] {
    WindowRunner runner(subject.model, plan);
    const auto batch = static_cast<std::size_t>(windows_per_batch(subject.model, plan));
    for (std::size_t first = 0; first < plan.windows.size(); first += batch) {
      runner.start(first, std::min(batch, plan.windows.size() - first));
      while (!runner.finished()) runner.advance(Model::kStepRows, [](const ScoredRows&) {});
    }
  };
  const double bare = best_seconds(3, run_only);
  double best = 1e30;
  for (auto _ : state) {
    const PerplexityResult result =
        evaluate_perplexity(subject.model, subject.tokenizer, subject.data, options);
    best = std::min(best, result.seconds);
  }
  state.counters["tokens/s"] = static_cast<double>(plan.rows()) / best;
  state.counters["share_of_model"] = bare / best;
}

BENCHMARK(log_sum_exp_bench)->Arg(4096)->Arg(32000)->Arg(128256);
BENCHMARK(compare_rows_bench)->Arg(4096)->Arg(32000)->Arg(128256);
BENCHMARK(perplexity_bench)
    ->ArgNames({"batch", "llama.cpp"})
    ->ArgsProduct({{0, 1, 2, 4, 8}, {0, 1}})
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace aquatint
