#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "base/process.h"
#include "base/threads.h"
#include "cli/common.h"
#include "cli/eval_options.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "device/device_memory.h"
#include "eval/eval_report.h"
#include "eval/tasks.h"
#include "report/bench_report.h"
#include "report/table.h"
#include "runtime/bench.h"
#include "runtime/model_text.h"

namespace aquatint::cli {
namespace {

using nlohmann::json;

struct Options {
  std::string reference, text, json;
  std::vector<std::string> models;
  EvalOptions eval;
  ModelOptions loading;
  SpeedOptions speed;
};

struct Row {
  std::string model;
  std::int64_t file_bytes = 0;
  json speed;
  EvalResult quality;
};

// Speed and peak memory are measured in a process of their own, so that neither the other model nor
// the evaluation is in the figures.
json measure_speed(const std::string& model, const Options& options, const BenchOptions& bench) {
  std::vector<std::string> arguments = {"bench",
                                        model,
                                        "--json",
                                        "-",
                                        "--prompt-tokens",
                                        std::to_string(bench.prompt_tokens),
                                        "--generated-tokens",
                                        std::to_string(bench.generated_tokens),
                                        "--repeats",
                                        std::to_string(bench.repeats),
                                        "--threads",
                                        std::to_string(num_threads()),
                                        "--quiet"};
  const std::vector<std::string> loading = options.loading.arguments();
  arguments.insert(arguments.end(), loading.begin(), loading.end());
  return json::parse(run_process(self_path(), arguments));
}

// Of the memory that limits: the GPU's when the model runs there.
std::int64_t peak_bytes(const json& speed) {
  const bool cpu = speed["device"] == "cpu";
  return speed[cpu ? "peak_memory_bytes" : "peak_device_bytes"].get<std::int64_t>();
}

std::string table_text(const std::vector<Row>& rows) {
  Table table({"model", "size", "perplexity", "change", "KLD", "top-1", "prefill t/s", "decode t/s",
               "peak memory"});
  const double base = rows.front().quality.perplexity->token_perplexity;
  for (const Row& row : rows) {
    const auto& divergence = row.quality.divergence;
    const PerplexityResult& p = divergence ? divergence->model : *row.quality.perplexity;
    table.add(
        {row.model, format_bytes(row.file_bytes), fmt::format("{:.4f}", p.token_perplexity),
         divergence ? fmt::format("{:+.2f} %", 100 * (p.token_perplexity / base - 1)) : "-",
         divergence ? fmt::format("{:.5f}", divergence->mean_kld) : "-",
         divergence ? fmt::format("{:.2f} %", 100 * divergence->top1_agreement) : "-",
         fmt::format("{:.0f}", row.speed["prefill_tokens_per_second"]["median"].get<double>()),
         fmt::format("{:.0f}", row.speed["decode_tokens_per_second"]["median"].get<double>()),
         format_bytes(peak_bytes(row.speed))});
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

// Quality of every model against the reference, whose own perplexity comes from the same pass.
void measure_quality(const Options& options, const TextData& text, std::vector<Row>& rows) {
  const LoadOptions loading = options.loading.load_options();
  const Tokenizer reference_tokenizer = open_tokenizer(model_folder(options.reference));
  Model reference = load_model(options.reference, loading);
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const Tokenizer tokenizer = open_tokenizer(model_folder(rows[i].model));
    Model model = load_model(rows[i].model, loading);
    rows[i].quality = evaluate_text({model, tokenizer, &reference, &reference_tokenizer}, text,
                                    options.eval.resolve());
  }
  rows.front().quality.task = rows.back().quality.task;
  rows.front().quality.perplexity = rows.back().quality.divergence->reference;
}

void run(const Options& options) {
  check_output(options.json);
  const TextData text = read_text(options.text);
  // Whatever is wrong with a model is said before anything is measured.
  std::vector<Row> rows;
  std::vector<std::string> folders = {options.reference};
  folders.insert(folders.end(), options.models.begin(), options.models.end());
  for (const std::string& folder : folders) {
    rows.push_back(
        {folder, Checkpoint::open(model_folder(folder)).tensors().total_bytes(), {}, {}});
    open_tokenizer(model_folder(folder));
  }
  measure_quality(options, text, rows);
  const BenchOptions bench = options.speed.resolve();
  const Device device = options.loading.load_options().device;
  if (device.is_cuda()) release_cached_device_memory(device);
  for (Row& row : rows) row.speed = measure_speed(row.model, options, bench);

  if (!options.json.empty()) write_json(options.json, rows_json(rows));
  if (options.json == "-") return;
  const PerplexityResult& p = *rows.front().quality.perplexity;
  print(table_text(rows));
  print(fmt::format(
      "\nquality: per token on {}, protocol {}, window {}, {} of {} tokens scored, BOS {};\n"
      "         change, KLD and top-1 against {}\n"
      "speed:   {} prompt and {} generated tokens, batch 1, {}, medians of {} runs\n",
      p.text, protocol_name(p.protocol), p.window, p.scored, p.tokens, bos_policy_name(p.bos),
      options.reference, bench.prompt_tokens, bench.generated_tokens, processor_text(device),
      bench.repeats));
}

}  // namespace

void add_compare(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = program.add_subcommand(
      "compare", "Size, perplexity, divergence, speed and memory of models, side by side");
  verb->add_option("reference", options->reference,
                   "Model (a folder or ORG/NAME) to compare with, usually the original")
      ->required();
  verb->add_option("models", options->models, "Models to compare with it")->required();
  add_offline(*verb);
  add_text(*verb, "--text", options->text, "FILE",
           "Text file to measure quality on, or .jsonl with a page or text per line")
      ->required();
  options->eval.declare(*verb);
  options->speed.declare(*verb);
  options->loading.declare(*verb);
  add_threads(*verb);
  add_json(*verb, options->json);
  verb->footer("Example:\n  aquatint compare models/gla gla-w8a8 gla-w4a16 --text book.txt");
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
