// The ways in which `run` generates: after one prompt, in a conversation, after many prompts.
#pragma once

#include <string>

#include "cli/common.h"
#include "runtime/generate.h"

namespace aquatint::cli {

struct RunOptions {
  std::string model, prompt, json;
  std::string chat_template, system;  // of a conversation
  std::string prompt_cache, prompts_file;
  std::int64_t batch = 8;  // prompts generated together
  GenerateOptions generate;
  ModelOptions loading;
  bool has_prompt = false, chat = false, no_bos = false, no_echo = false;
};

// What every way needs.
struct RunModel {
  explicit RunModel(RunOptions& options);  // adds the tokens that end an answer to the options
  Checkpoint checkpoint;
  Tokenizer tokenizer;
  Model model;
};

// Counts, rates and why it stopped, to the log.
void log_result(const GenerateResult& result);
// What --json tells of an answer.
nlohmann::json result_json(const RunOptions& options, const std::string& prompt,
                           const GenerateResult& result);

// Answers the prompt, or each line of standard input in turn as messages of one conversation.
void run_chat(RunOptions& options);
// Writes one JSON object a line for each prompt of the file, in its order.
void run_many(RunOptions& options);

}  // namespace aquatint::cli
