#include "eval/text_plan.h"

#include <algorithm>

#include "base/error.h"

namespace aquatint {
namespace {

TokenId lm_eval_prefix(const Tokenizer& tokenizer) {
  if (const auto id = tokenizer.bos_id()) return *id;
  if (const auto id = tokenizer.eos_id()) return *id;
  raise(ErrorKind::kUnsupported,
        "protocol lm-eval predicts each first token from the beginning- or end-of-text token; the "
        "tokenizer has neither");
}

std::vector<TokenId> encode(const std::string& text, const Tokenizer& tokenizer, BosPolicy bos) {
  if (bos == BosPolicy::kNone) return tokenizer.encode(text, false);
  std::vector<TokenId> ids = tokenizer.encode(text, true);
  if (bos == BosPolicy::kAlways) {
    const TokenId id = *bos_by_policy(tokenizer, bos);
    if (ids.empty() || ids.front() != id) ids.insert(ids.begin(), id);
  }
  return ids;
}

// As lm-evaluation-harness: a document that spells the prefix token at its start gets no second
// one.
std::vector<TokenId> encode_lm_eval(const std::string& text, const Tokenizer& tokenizer,
                                    BosPolicy bos, TokenId prefix) {
  const std::string spelled = tokenizer.decode(std::span(&prefix, 1), false);
  const bool has_prefix = !spelled.empty() && text.starts_with(spelled);
  return encode(text, tokenizer, has_prefix ? BosPolicy::kNone : bos);
}

std::string join(std::span<const TextDocument> documents, std::string_view separator) {
  std::string joined;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    if (i > 0) joined += separator;
    joined += documents[i].text;
  }
  return joined;
}

// Cuts the last sequences so that at most `limit` tokens are left; whether anything was cut.
bool limit_tokens(std::vector<std::vector<TokenId>>& sequences, std::int64_t limit) {
  bool cut = false;
  auto left = static_cast<std::size_t>(limit);
  for (auto& sequence : sequences) {
    cut = cut || sequence.size() > left;
    sequence.resize(std::min(sequence.size(), left));
    left -= sequence.size();
  }
  return cut;
}

std::vector<Window> plan_windows(const TextPlan& plan, std::int64_t tokens,
                                 const Tokenizer& tokenizer) {
  const BosPolicy bos = plan.options.bos;
  switch (plan.options.protocol) {
    case Protocol::kLmEval:
      return plan_lm_eval(tokens, plan.options.window);
    case Protocol::kGptq:
      return plan_gptq(tokens, plan.options.window);
    case Protocol::kLlamaCpp:
      return plan_llama_cpp(tokens, plan.options.window, bos_by_policy(tokenizer, bos).has_value());
  }
  return {};
}

void resolve_window(PerplexityOptions& options, const LengthLimits& limits) {
  if (options.window == 0) {
    options.window = default_window(options.protocol, limits.context_length);
    if (limits.max_positions > 0) options.window = std::min(options.window, limits.max_positions);
  }
  if (limits.max_positions > 0 && options.window > limits.max_positions) {
    raise(ErrorKind::kInvalidArgument, "a window of {} tokens; the model has {} positions",
          options.window, limits.max_positions);
  }
}

void tokenize(TextPlan& plan, std::span<const TextDocument> documents, const Tokenizer& tokenizer) {
  const BosPolicy bos = plan.options.bos;
  if (plan.options.protocol == Protocol::kLmEval) {
    plan.special = lm_eval_prefix(tokenizer);
    for (const TextDocument& document : documents) {
      plan.sequences.push_back(encode_lm_eval(document.text, tokenizer, bos, plan.special));
    }
    return;
  }
  const bool gptq = plan.options.protocol == Protocol::kGptq;
  const std::string text = join(documents, gptq ? "\n\n" : "");
  plan.sequences.push_back(encode(text, tokenizer, bos));
  if (!gptq) plan.special = bos_by_policy(tokenizer, bos).value_or(0);
}

}  // namespace

std::int64_t TextPlan::tokens() const {
  std::int64_t total = 0;
  for (const auto& sequence : sequences) total += static_cast<std::int64_t>(sequence.size());
  return total;
}

std::int64_t TextPlan::scored() const {
  std::int64_t total = 0;
  for (const Item& item : windows) total += item.window.scored();
  return total;
}

std::int64_t TextPlan::rows() const {
  std::int64_t total = 0;
  for (const Item& item : windows) total += item.window.length();
  return total;
}

TextPlan plan_text(const TextData& data, const Tokenizer& tokenizer, const LengthLimits& limits,
                   const PerplexityOptions& options) {
  TextPlan plan;
  plan.name = data.name;
  plan.options = options;
  resolve_window(plan.options, limits);
  std::span<const TextDocument> documents = data.documents;
  if (options.max_documents > 0) {
    const auto most = static_cast<std::size_t>(options.max_documents);
    documents = documents.first(std::min(documents.size(), most));
  }
  for (const TextDocument& document : documents) {
    plan.words += document.words;
    plan.bytes += document.bytes;
  }
  plan.documents = static_cast<std::int64_t>(documents.size());
  tokenize(plan, documents, tokenizer);
  const bool cut = options.max_tokens > 0 && limit_tokens(plan.sequences, options.max_tokens);
  plan.whole = options.protocol == Protocol::kLmEval && !cut;

  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    const auto tokens = static_cast<std::int64_t>(plan.sequences[i].size());
    for (const Window& window : plan_windows(plan, tokens, tokenizer)) {
      plan.windows.push_back({i, window});
    }
  }
  if (plan.windows.empty()) {
    raise(ErrorKind::kInvalidArgument,
          "'{}' has {} tokens, too few for protocol {} with a window of {}", plan.name,
          plan.tokens(), protocol_name(plan.options.protocol), plan.options.window);
  }
  return plan;
}

}  // namespace aquatint
