// Perplexity of a text under a model by one of the published protocols. Every result carries what
// it depends on: protocol, window, policy about the beginning-of-text token, and counts.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "eval/protocol.h"
#include "eval/text_plan.h"
#include "formats/text_data.h"
#include "models/model.h"
#include "text/tokenizer.h"

namespace aquatint {

struct PerplexityResult {
  std::string text;  // name of the data
  Protocol protocol = Protocol::kLmEval;
  std::int64_t window = 0;
  BosPolicy bos = BosPolicy::kTokenizer;
  std::int64_t tokens = 0;  // of the text, those the tokenizer added included
  std::int64_t scored = 0;  // tokens predicted
  std::int64_t windows = 0, documents = 0;
  std::int64_t words = 0, bytes = 0;  // of the documents in their original form
  double nll = 0;                     // Σ -log p of the scored tokens, in nats
  double token_perplexity = 0;        // exp(nll / scored)
  double token_perplexity_error = 0;  // one standard error, tokens taken as independent
  // Defined where all tokens of whole documents are scored (lm-eval without a limit on tokens):
  std::optional<double> word_perplexity;  // exp(nll / words)
  std::optional<double> byte_perplexity;  // exp(nll / bytes)
  std::optional<double> bits_per_byte;    // nll / (bytes ln 2)
  double seconds = 0;                     // running the model and scoring
  double tokens_per_second = 0;           // tokens fed, context included
};

// Runs the model over the windows of the text; shows progress. Error kNumeric for NaN or infinite
// logits; otherwise as plan_text.
PerplexityResult evaluate_perplexity(Model& model, const Tokenizer& tokenizer, const TextData& data,
                                     const PerplexityOptions& options);

// The limits a plan needs to know of a model.
LengthLimits length_limits(const Model& model);

// The result of per-token losses in the order of the plan; `seconds` is the time of the run.
PerplexityResult make_perplexity_result(const TextPlan& plan, std::span<const double> losses,
                                        double seconds);

}  // namespace aquatint
