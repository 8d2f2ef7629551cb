#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/common.h"
#include "cli/eval_options.h"
#include "cli/verbs.h"
#include "eval/eval_report.h"

namespace aquatint::cli {

void EvalOptions::declare(CLI::App& verb) {
  verb.add_option("--protocol", protocol, "How a text is cut and scored: " +
                                              CLI::detail::join(protocol_names(), ", "))
      ->check(CLI::IsMember(protocol_names()))
      ->capture_default_str();
  verb.add_option("--window", perplexity.window,
                  "Tokens of a window; 0: the protocol's (model context for lm-eval, 2048 or less "
                  "for gptq, 512 for llama.cpp)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.add_option("--bos", bos, "Beginning-of-text token: as the tokenizer does, none or always")
      ->check(CLI::IsMember(bos_policy_names()))
      ->capture_default_str();
  verb.add_option("--max-tokens", perplexity.max_tokens, "Only the first tokens; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.add_option("--max-documents", perplexity.max_documents, "Only the first documents; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.add_option("--batch", perplexity.batch, "Windows run together; 0: chosen for the model")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

PerplexityOptions EvalOptions::resolve() const {
  PerplexityOptions result = perplexity;
  result.protocol = *protocol_from_name(protocol);
  result.bos = *bos_policy_from_name(bos);
  return result;
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

std::vector<EvalResult> evaluate(const Options& options, const EvalSubject& subject) {
  std::vector<EvalResult> results;
  const PerplexityOptions perplexity = options.eval.resolve();
  for (const std::string& name : options.tasks) {
    results.push_back(run_eval_task(find_eval_task(name), subject, options.data, perplexity));
  }
  if (!options.text.empty()) {
    results.push_back(evaluate_text(subject, read_text_data(options.text), perplexity));
  }
  return results;
}

void run(const Options& options) {
  if (options.tasks.empty() == options.text.empty()) {
    raise(ErrorKind::kInvalidArgument, "eval needs either --tasks with --data, or --text FILE");
  }
  if (!options.tasks.empty() && options.data.empty()) {
    raise(ErrorKind::kInvalidArgument, "--tasks needs --data FOLDER");
  }
  for (const std::string& name : options.tasks) find_eval_task(name);
  const Tokenizer tokenizer = Tokenizer::open(options.model);
  Model model =
      Model::load(Checkpoint::open(options.model), options.loading.load_options());
  std::optional<Tokenizer> reference_tokenizer;
  std::optional<Model> reference;
  EvalSubject subject{model, tokenizer};
  if (!options.reference.empty()) {
    reference_tokenizer.emplace(Tokenizer::open(options.reference));
    reference.emplace(
        Model::load(Checkpoint::open(options.reference), options.loading.load_options()));
    subject.reference = &*reference;
    subject.reference_tokenizer = &*reference_tokenizer;
  }
  const std::vector<EvalResult> results = evaluate(options, subject);
  if (!options.json.empty()) {
    nlohmann::json out = {{"model", options.model},
                          {"dtype", options.loading.dtype},
                          {"execution", options.loading.simulate ? "simulated" : "integer"}};
    if (!options.reference.empty()) out["reference"] = options.reference;
    for (const EvalResult& result : results) out["results"].push_back(to_json(result));
    write_json(options.json, out);
    if (options.json == "-") return;
  }
  std::string text;
  for (const std::string& line : eval_table(results)) text += line + "\n";
  print(text);
}

}  // namespace

void add_eval(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = program.add_subcommand(
      "eval", "Measure perplexity, and divergence from a reference model");
  verb->add_option("model", options->model, "Model folder")->required();
  verb->add_option("--tasks", options->tasks, "Tasks by name, separated by commas")
      ->delimiter(',');
  verb->add_option("--data", options->data, "Folder with the tasks' data files");
  verb->add_option("--text", options->text, "Text file, or .jsonl with a page or text per line");
  verb->add_option("--reference", options->reference,
                   "Model folder to measure divergence from, usually the original");
  verb->add_option("--json", options->json, "Write the results as JSON to a file, or - for output");
  options->eval.declare(*verb);
  options->loading.declare(*verb);
  declare_threads(*verb);
  verb->footer(task_help());
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
