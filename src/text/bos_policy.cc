#include "text/bos_policy.h"

#include <array>
#include <utility>

#include "base/error.h"

namespace aquatint {
namespace {

constexpr std::array kBosPolicies = {
    std::pair{BosPolicy::kTokenizer, "tokenizer"},
    std::pair{BosPolicy::kNone, "none"},
    std::pair{BosPolicy::kAlways, "always"},
};

}  // namespace

const char* bos_policy_name(BosPolicy policy) {
  for (const auto& [row, name] : kBosPolicies) {
    if (row == policy) return name;
  }
  return "unknown";
}

std::optional<BosPolicy> bos_policy_from_name(std::string_view name) {
  for (const auto& [policy, row] : kBosPolicies) {
    if (name == row) return policy;
  }
  return std::nullopt;
}

std::vector<std::string> bos_policy_names() {
  std::vector<std::string> names;
  for (const auto& row : kBosPolicies) names.emplace_back(row.second);
  return names;
}

std::optional<TokenId> bos_by_policy(const Tokenizer& tokenizer, BosPolicy policy) {
  const bool wanted =
      policy == BosPolicy::kAlways || (policy == BosPolicy::kTokenizer && tokenizer.adds_bos());
  if (!wanted) return std::nullopt;
  if (const auto id = tokenizer.bos_id()) return id;
  raise(ErrorKind::kUnsupported, "the tokenizer has no beginning-of-text token");
}

}  // namespace aquatint
