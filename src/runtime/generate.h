// Text generation: prefill of a prompt, then one token at a time through the sampler, with
// streaming output and stop strings; of one prompt, or of many at once.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/model.h"
#include "runtime/answer.h"
#include "runtime/sampler.h"
#include "runtime/session.h"
#include "text/tokenizer.h"

namespace aquatint {

struct GenerateOptions {
  SamplerOptions sampler;
  StopOptions stop;
};

struct GenerateResult {
  std::vector<std::int32_t> prompt_tokens, tokens;
  std::size_t remembered_tokens = 0;  // of the prompt, not run again
  std::string text;
  StopReason stop_reason = StopReason::kMaxTokens;
  double prompt_seconds = 0, decode_seconds = 0;
};

// Tokens of a prompt. With `add_special_tokens`, beginning-of-text comes first where the tokenizer
// has it; it also stands for an empty prompt. Error kInvalidArgument for an empty prompt of a
// tokenizer without it.
std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, std::string_view prompt,
                                        bool add_special_tokens);

// Tokens that end an answer as the model's files say: eos_token_id of generation_config.json, else
// of config.json.
std::vector<std::int32_t> end_tokens(const Checkpoint& checkpoint);

// Calls `on_text` with each piece of text as soon as it is certain. Error kInvalidArgument for a
// prompt beyond the model's positions.
GenerateResult generate(Session& session, const Tokenizer& tokenizer,
                        std::vector<std::int32_t> prompt, const GenerateOptions& options,
                        const std::function<void(std::string_view)>& on_text);

// Generates after every prompt, `batch` sequences at a time: as one ends the next prompt takes its
// place. Each has draws of its own, prompt i those of the seed plus i, so that results do not
// depend on `batch` but for the rounding of products with another number of rows. Calls `on_result`
// as sequences end, in any order, with the seconds of the steps that each took part in.
void generate_many(Model& model, const Tokenizer& tokenizer,
                   std::span<const std::vector<std::int32_t>> prompts, std::int64_t batch,
                   const GenerateOptions& options,
                   const std::function<void(std::size_t prompt, GenerateResult result)>& on_result);

}  // namespace aquatint
