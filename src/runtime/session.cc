#include "runtime/session.h"

#include <algorithm>

#include "base/error.h"

namespace aquatint {
namespace {

// Whether `prompt` begins with all of `tokens` and has more.
bool goes_on(std::span<const std::int32_t> prompt, const std::vector<std::int32_t>& tokens) {
  return tokens.size() < prompt.size() && std::equal(tokens.begin(), tokens.end(), prompt.begin());
}

}  // namespace

Session::Session(Model& model, bool remembers)
    : model_(&model), remembers_(remembers), state_(model.new_state()) {}

Session::Session(Model& model, CachedPrompt cached)
    : model_(&model), remembers_(true), state_(cached.state.clone()), tokens_(cached.tokens) {
  remembered_ = std::move(cached);
}

std::size_t Session::begin(std::span<const std::int32_t> prompt) {
  AQUATINT_ASSERT(!prompt.empty());
  if (!goes_on(prompt, tokens_)) {
    if (remembered_ && goes_on(prompt, remembered_->tokens)) {
      state_ = remembered_->state.clone();
      tokens_ = remembered_->tokens;
    } else {
      state_.reset();
      tokens_.clear();
    }
  }
  const std::size_t reused = tokens_.size();
  if (!remembers_) return reused;
  const auto rest = prompt.subspan(reused, prompt.size() - 1 - reused);
  if (!rest.empty()) {
    const ModelInput input{rest, &state_};
    model_->run({&input, 1}, LogitsFor::kNone, {});
    tokens_.insert(tokens_.end(), rest.begin(), rest.end());
  }
  if (!tokens_.empty()) remembered_ = CachedPrompt{tokens_, state_.clone()};
  return reused;
}

std::int32_t Session::next(std::span<const std::int32_t> tokens, const TokenChoice& choice,
                           std::int64_t allowed) {
  const ModelInput input{tokens, &state_};
  const std::int32_t token = model_->next_tokens({&input, 1}, {&choice, 1}, allowed).front();
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  return token;
}

}  // namespace aquatint
