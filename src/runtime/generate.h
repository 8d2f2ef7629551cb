// Text generation: prefill of the prompt, then one token at a time through the sampler, with
// streaming output and stop strings.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "models/model.h"
#include "runtime/sampler.h"
#include "text/tokenizer.h"

namespace aquatint {

struct GenerateOptions {
  SamplerOptions sampler;
  std::int64_t max_tokens = 256;
  std::vector<std::string> stop;  // text that ends the generation; not part of the output
  bool ignore_eos = false;
  bool add_special_tokens =
      true;  // beginning-of-text before the prompt, where the tokenizer has it
};

enum class StopReason { kMaxTokens, kEndOfText, kStopString, kPositions };

const char* stop_reason_name(StopReason reason);

struct GenerateResult {
  std::vector<std::int32_t> prompt_tokens, tokens;
  std::string text;
  StopReason stop_reason = StopReason::kMaxTokens;
  double prompt_seconds = 0, decode_seconds = 0;
};

// Calls `on_text` with each piece of text as soon as it is certain. Error kInvalidArgument for an
// empty prompt of a tokenizer without a beginning-of-text token, or one beyond the model's
// positions.
GenerateResult generate(Model& model, const Tokenizer& tokenizer, std::string_view prompt,
                        const GenerateOptions& options,
                        const std::function<void(std::string_view)>& on_text);

}  // namespace aquatint
