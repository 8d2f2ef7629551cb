#include "eval/tasks.h"

#include "base/error.h"
#include "formats/wikitext.h"

namespace aquatint {
namespace {

// A row's function: perplexity of a text by a protocol.
template <Protocol kProtocol, TextData (*kLoad)(const std::filesystem::path&)>
EvalResult run_text_task(const EvalSubject& subject, const std::filesystem::path& file,
                         const PerplexityOptions& options) {
  PerplexityOptions fixed = options;
  fixed.protocol = kProtocol;
  return evaluate_text(subject, kLoad(file), fixed);
}

}  // namespace

const std::vector<EvalTask>& eval_tasks() {
  static const std::vector<EvalTask> kTasks = {
      {"wikitext", "WikiText-2 word and byte perplexity as lm-evaluation-harness", "wikitext.jsonl",
       run_text_task<Protocol::kLmEval, load_wikitext_pages>},
      {"wikitext2-gptq", "WikiText-2 token perplexity as the GPTQ, AWQ and Quamba papers",
       "wikitext2_raw_test.txt", run_text_task<Protocol::kGptq, load_wikitext_joined>},
      {"wikitext2-llama.cpp", "WikiText-2 token perplexity as llama.cpp", "wikitext2_raw_test.txt",
       run_text_task<Protocol::kLlamaCpp, load_wikitext_raw>},
  };
  return kTasks;
}

const EvalTask& find_eval_task(std::string_view name) {
  std::string names;
  for (const EvalTask& task : eval_tasks()) {
    if (name == task.name) return task;
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", task.name);
  }
  raise(ErrorKind::kInvalidArgument, "no task is called '{}'; there are {}", name, names);
}

EvalResult run_eval_task(const EvalTask& task, const EvalSubject& subject,
                         const std::filesystem::path& data_folder,
                         const PerplexityOptions& options) {
  const std::filesystem::path file = data_folder / task.data_file;
  if (!std::filesystem::exists(file)) {
    raise(ErrorKind::kNotFound, "task '{}' reads '{}', which is not there", task.name,
          file.string());
  }
  EvalResult result = task.run(subject, file, options);
  result.task = task.name;
  return result;
}

EvalResult evaluate_text(const EvalSubject& subject, const TextData& data,
                         const PerplexityOptions& options) {
  EvalResult result;
  result.task = data.name;
  if (subject.reference == nullptr) {
    result.perplexity = evaluate_perplexity(subject.model, subject.tokenizer, data, options);
    return result;
  }
  const Tokenizer& reference_tokenizer =
      subject.reference_tokenizer != nullptr ? *subject.reference_tokenizer : subject.tokenizer;
  result.divergence = evaluate_divergence(subject.model, subject.tokenizer, *subject.reference,
                                          reference_tokenizer, data, options);
  result.perplexity = result.divergence->model;
  return result;
}

}  // namespace aquatint
