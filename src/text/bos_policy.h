// Whether a text begins with the beginning-of-text token (BOS): what is measured or calibrated on
// depends on it, so users may say.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace aquatint {

enum class BosPolicy {
  kTokenizer,  // where the tokenizer adds it by itself; lm-eval since November 2025
  kNone,       // never; lm-eval before
  kAlways,     // also where the tokenizer does not
};

// "tokenizer", "none", "always".
const char* bos_policy_name(BosPolicy policy);
std::optional<BosPolicy> bos_policy_from_name(std::string_view name);
std::vector<std::string> bos_policy_names();

// The token that a text begins with by the policy, or none. Error kUnsupported when there is to be
// one and the tokenizer has none.
std::optional<TokenId> bos_by_policy(const Tokenizer& tokenizer, BosPolicy policy);

}  // namespace aquatint
