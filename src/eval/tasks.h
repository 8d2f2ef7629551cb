// Evaluations by name: each a row with its data file and the function that runs it, so that a
// command line, a report or another language can offer them without knowing them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/divergence.h"
#include "eval/perplexity.h"

namespace aquatint {

// What is evaluated; with a reference, its divergence from that too.
struct EvalSubject {
  Model& model;
  const Tokenizer& tokenizer;
  Model* reference = nullptr;
  const Tokenizer* reference_tokenizer = nullptr;
};

struct EvalResult {
  std::string task;  // its name, or that of the text
  std::optional<PerplexityResult> perplexity;
  std::optional<DivergenceResult> divergence;
};

struct EvalTask {
  const char* name;       // "wikitext"
  const char* summary;    // one line for help
  const char* data_file;  // in the data folder
  // `file` is the data file; tasks fix the protocol and take the rest of the options.
  EvalResult (*run)(const EvalSubject& subject, const std::filesystem::path& file,
                    const PerplexityOptions& options);
};

const std::vector<EvalTask>& eval_tasks();
// Error kInvalidArgument lists the names there are.
const EvalTask& find_eval_task(std::string_view name);
// Runs one task with its file in `data_folder`. Error kNotFound names the file that is missing.
EvalResult run_eval_task(const EvalTask& task, const EvalSubject& subject,
                         const std::filesystem::path& data_folder,
                         const PerplexityOptions& options);

// Perplexity of any text by the protocol of the options, and divergence if there is a reference.
EvalResult evaluate_text(const EvalSubject& subject, const TextData& data,
                         const PerplexityOptions& options);

}  // namespace aquatint
