#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/common.h"
#include "cli/eval_options.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "eval/eval_report.h"
#include "runtime/model_text.h"

namespace aquatint::cli {
namespace {

constexpr std::int64_t kMostWindows = 4096;

}  // namespace

void EvalOptions::declare_text(CLI::App& verb) {
  add_choice(verb, "--protocol", protocol, protocol_names(), "How the text is cut and scored");
  add_count(verb, "--window", perplexity.window, 0, kLargestCount,
            "Tokens of a window; 0: as the protocol has it (lm-eval: the model's context, gptq: "
            "that but at most 2048, llama.cpp: 512)");
  add_choice(verb, "--bos", bos, bos_policy_names(),
             "Whether the text begins with the beginning-of-text token");
  add_count(verb, "--max-tokens", perplexity.max_tokens, 0, kLargestCount,
            "Use only the first N tokens; 0: all");
  add_count(verb, "--max-documents", perplexity.max_documents, 0, kLargestCount,
            "Use only the first N documents; 0: all");
}

void EvalOptions::declare(CLI::App& verb) {
  declare_text(verb);
  add_count(verb, "--batch", perplexity.batch, 0, kMostWindows,
            "Windows run together; 0: as many as suit the model");
}

PerplexityOptions EvalOptions::resolve() const {
  PerplexityOptions result = perplexity;
  result.protocol = *protocol_from_name(protocol);
  result.bos = *bos_policy_from_name(bos);
  return result;
}

TextData read_text(const std::string& path) {
  TextData data = read_text_data(path);
  for (const TextDocument& document : data.documents) {
    check_utf8(document.text, "'" + path + "'", ErrorKind::kCorrupt);
  }
  return data;
}

namespace {

struct Options {
  std::string model, reference, text, data, json;
  std::vector<std::string> tasks;
  EvalOptions eval;
  ModelOptions loading;
};

std::string task_help() {
  std::string text = "Tasks (with --data FOLDER):\n";
  for (const EvalTask& task : eval_tasks()) {
    text += fmt::format("  {:<20} {} ({})\n", task.name, task.summary, task.data_file);
  }
  return text +
         "\nExamples:\n"
         "  aquatint eval models/gla --tasks wikitext --data data\n"
         "  aquatint eval gla-w8a8 --text book.txt --protocol gptq --reference models/gla";
}

std::vector<EvalResult> evaluate(const Options& options, const EvalSubject& subject,
                                 const TextData& text) {
  std::vector<EvalResult> results;
  const PerplexityOptions perplexity = options.eval.resolve();
  for (const std::string& name : options.tasks) {
    results.push_back(run_eval_task(find_eval_task(name), subject, options.data, perplexity));
  }
  if (!options.text.empty()) {
    results.push_back(evaluate_text(subject, text, perplexity));
  }
  return results;
}

void run(const Options& options) {
  check_output(options.json);
  if (options.tasks.empty() == options.text.empty()) {
    raise(ErrorKind::kInvalidArgument, "eval needs either --tasks with --data, or --text FILE");
  }
  if (!options.tasks.empty() && options.data.empty()) {
    raise(ErrorKind::kInvalidArgument, "--tasks needs --data FOLDER");
  }
  for (const std::string& name : options.tasks) find_eval_task(name);
  const TextData text_data = options.text.empty() ? TextData{} : read_text(options.text);
  const Tokenizer tokenizer = open_tokenizer(model_folder(options.model));
  Model model = load_model(options.model, options.loading.load_options());
  std::optional<Tokenizer> reference_tokenizer;
  std::optional<Model> reference;
  EvalSubject subject{model, tokenizer};
  if (!options.reference.empty()) {
    reference_tokenizer.emplace(open_tokenizer(model_folder(options.reference)));
    reference.emplace(load_model(options.reference, options.loading.load_options()));
    subject.reference = &*reference;
    subject.reference_tokenizer = &*reference_tokenizer;
  }
  const std::vector<EvalResult> results = evaluate(options, subject, text_data);
  if (!options.json.empty()) {
    nlohmann::json out = {{"model", options.model},
                          {"device", model.device().str()},
                          {"dtype", options.loading.dtype},
                          {"execution", options.loading.simulate ? "simulated" : "integer"}};
    if (!options.reference.empty()) out["reference"] = options.reference;
    for (const EvalResult& result : results) out["results"].push_back(to_json(result));
    write_json(options.json, out);
    if (options.json == "-") return;
  }
  std::string text;
  for (const std::string& line : eval_lines(results)) text += line + "\n";
  print(text);
}

}  // namespace

void add_eval(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      program.add_subcommand("eval", "Measure perplexity, and divergence from a reference model");
  add_model(*verb, options->model);
  auto* tasks =
      add_words(*verb, "--tasks", options->tasks, "NAMES", "Tasks (below), separated by commas");
  std::vector<std::string> task_names;
  for (const EvalTask& task : eval_tasks()) task_names.emplace_back(task.name);
  offer(tasks, task_names);
  add_text(*verb, "--data", options->data, "FOLDER", "Folder with the data files of the tasks");
  add_text(*verb, "--text", options->text, "FILE",
           "Text file to measure on instead, or .jsonl with a page or text per line");
  add_text(*verb, "--reference", options->reference, "MODEL",
           "Model to measure the divergence from, usually the original");
  options->eval.declare(*verb);
  options->loading.declare(*verb);
  add_threads(*verb);
  add_json(*verb, options->json);
  verb->footer(task_help());
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
