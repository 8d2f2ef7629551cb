#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "base/process.h"
#include "base/threads.h"
#include "cli/common.h"
#include "cli/eval_options.h"
#include "cli/verbs.h"
#include "eval/eval_report.h"
#include "eval/tasks.h"
#include "report/table.h"
#include "runtime/bench.h"

namespace aquatint::cli {
namespace {

using nlohmann::json;

struct Options {
  std::string reference, text, json;
  std::vector<std::string> models;
  EvalOptions eval;
  ModelOptions loading;
  BenchOptions bench;
};

struct Row {
  std::string model;
  std::int64_t file_bytes = 0;
  json speed;
  EvalResult quality;
};

// Speed and peak memory are measured in a process of their own, so that neither the other model nor the
// evaluation is in the figures.
json measure_speed(const std::string& model, const Options& options) {
  std::vector<std::string> arguments = {
      "bench",           model,
      "--json",          "-",
      "--dtype",         options.loading.dtype,
      "--prompt-tokens", std::to_string(options.bench.prompt_tokens),
      "--generated-tokens", std::to_string(options.bench.generated_tokens),
      "--repeats",       std::to_string(options.bench.repeats),
      "--threads",       std::to_string(num_threads()),
      "--quiet"};
  if (options.loading.simulate) arguments.emplace_back("--simulate");
  return json::parse(run_process(self_path(), arguments));
}

std::string table_text(const std::vector<Row>& rows) {
  Table table({"model", "size", "perplexity", "change", "KLD", "top-1", "prefill t/s", "decode t/s",
               "peak memory"});
  const double base = rows.front().quality.perplexity->token_perplexity;
  for (const Row& row : rows) {
    const auto& divergence = row.quality.divergence;
    const PerplexityResult& p = divergence ? divergence->model : *row.quality.perplexity;
    table.add({row.model, format_bytes(row.file_bytes), fmt::format("{:.4f}", p.token_perplexity),
               divergence ? fmt::format("{:+.2f} %", 100 * (p.token_perplexity / base - 1)) : "-",
               divergence ? fmt::format("{:.5f}", divergence->mean_kld) : "-",
               divergence ? fmt::format("{:.2f} %", 100 * divergence->top1_agreement) : "-",
               fmt::format("{:.0f}", row.speed["prefill_tokens_per_second"]["median"].get<double>()),
               fmt::format("{:.0f}", row.speed["decode_tokens_per_second"]["median"].get<double>()),
               format_bytes(row.speed["peak_memory_bytes"].get<std::int64_t>())});
  }
  return table.str();
}

json rows_json(const std::vector<Row>& rows) {
  json out = json::array();
  for (const Row& row : rows) {
    out.push_back({{"model", row.model},
                   {"file_bytes", row.file_bytes},
                   {"speed", row.speed},
                   {"quality", to_json(row.quality)}});
  }
  return out;
}

void run(const Options& options) {
  const TextData text = read_text_data(options.text);
  const PerplexityOptions perplexity = options.eval.resolve();
  const LoadOptions loading = options.loading.load_options();

  std::vector<Row> rows;
  const auto add_row = [&](const std::string& folder) -> Row& {
    rows.push_back({folder, Checkpoint::open(folder).tensors().total_bytes(),
                    measure_speed(folder, options), {}});
    return rows.back();
  };
  add_row(options.reference);
  const Tokenizer reference_tokenizer = Tokenizer::open(options.reference);
  Model reference = Model::load(Checkpoint::open(options.reference), loading);
  for (const std::string& folder : options.models) {
    Row& row = add_row(folder);
    const Tokenizer tokenizer = Tokenizer::open(folder);
    Model model = Model::load(Checkpoint::open(folder), loading);
    row.quality =
        evaluate_text({model, tokenizer, &reference, &reference_tokenizer}, text, perplexity);
  }
  // The reference's own perplexity comes from the same pass.
  rows.front().quality.task = rows.back().quality.task;
  rows.front().quality.perplexity = rows.back().quality.divergence->reference;

  if (!options.json.empty()) write_json(options.json, rows_json(rows));
  if (options.json == "-") return;
  const PerplexityResult& p = *rows.front().quality.perplexity;
  print(table_text(rows));
  print(fmt::format(
      "\ntoken perplexity and divergence from {}: {}, protocol {}, window {}, {} of {} tokens scored, "
      "BOS {}\nspeed: {} prompt and {} generated tokens, batch 1, {} threads, medians of {} runs\n",
      options.reference, p.text, protocol_name(p.protocol), p.window, p.scored, p.tokens,
      bos_policy_name(p.bos), options.bench.prompt_tokens, options.bench.generated_tokens,
      num_threads(), options.bench.repeats));
}

}  // namespace

void add_compare(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = program.add_subcommand(
      "compare", "Size, perplexity, divergence, speed and memory of models, side by side");
  verb->add_option("reference", options->reference, "Model folder to compare with")->required();
  verb->add_option("models", options->models, "Model folders")->required();
  verb->add_option("--text", options->text, "Text file to measure quality on")->required();
  verb->add_option("--prompt-tokens", options->bench.prompt_tokens, "Tokens of the timed prefill")
      ->capture_default_str();
  verb->add_option("--generated-tokens", options->bench.generated_tokens,
                   "Tokens of the timed decode")
      ->capture_default_str();
  verb->add_option("--repeats", options->bench.repeats, "Timed runs")->capture_default_str();
  verb->add_option("--json", options->json, "Write the result as JSON to a file, or - for output");
  options->eval.declare(*verb);
  options->loading.declare(*verb);
  declare_threads(*verb);
  verb->footer("Example:\n  aquatint compare models/gla gla-w8a8 gla-w4a16 --text book.txt");
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
