#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/progress.h"
#include "cli/run_modes.h"
#include "formats/text_data.h"

namespace aquatint::cli {
namespace {

std::vector<std::string> read_prompts(const std::string& path) {
  if (path.ends_with(".jsonl")) return read_jsonl_strings(path, "prompt");
  std::vector<std::string> prompts;
  std::istringstream lines(read_text_file(path));
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.empty()) prompts.push_back(line);
  }
  if (prompts.empty()) raise(ErrorKind::kCorrupt, "'{}' has no prompts, one a line", path);
  for (const std::string& prompt : prompts) check_utf8(prompt, path, ErrorKind::kCorrupt);
  return prompts;
}

}  // namespace

void run_many(RunOptions& options) {
  const std::vector<std::string> prompts = read_prompts(options.prompts_file);
  RunModel loaded(options);
  std::vector<std::vector<std::int32_t>> tokens;
  for (const std::string& prompt : prompts) {
    tokens.push_back(prompt_tokens(loaded.tokenizer, prompt, !options.no_bos));
  }
  Progress progress("generating", "prompts", static_cast<std::int64_t>(prompts.size()));
  std::map<std::size_t, std::string> waiting;  // lines of prompts after one that still runs
  std::size_t next = 0;
  generate_many(loaded.model, loaded.tokenizer, tokens, options.batch, options.generate,
                [&](std::size_t index, GenerateResult result) {
                  auto line = result_json(options, prompts[index], result);
                  line["seed"] = options.generate.sampler.seed + index;
                  waiting[index] = line.dump() + "\n";
                  progress.advance(1);
                  for (auto at = waiting.find(next); at != waiting.end(); at = waiting.find(next)) {
                    print(at->second);
                    waiting.erase(at);
                    ++next;
                  }
                });
}

}  // namespace aquatint::cli
