#include "eval/protocol.h"

#include <algorithm>
#include <array>
#include <utility>

namespace aquatint {
namespace {

constexpr std::array kProtocols = {
    std::pair{Protocol::kLmEval, "lm-eval"},
    std::pair{Protocol::kGptq, "gptq"},
    std::pair{Protocol::kLlamaCpp, "llama.cpp"},
};
constexpr std::array kBosPolicies = {
    std::pair{BosPolicy::kTokenizer, "tokenizer"},
    std::pair{BosPolicy::kNone, "none"},
    std::pair{BosPolicy::kAlways, "always"},
};

template <typename Rows, typename Value>
const char* name_of(const Rows& rows, Value value) {
  for (const auto& [row, name] : rows) {
    if (row == value) return name;
  }
  return "unknown";
}

template <typename Value, std::size_t kCount>
std::optional<Value> find(const std::array<std::pair<Value, const char*>, kCount>& rows,
                          std::string_view wanted) {
  for (const auto& [value, name] : rows) {
    if (wanted == name) return value;
  }
  return std::nullopt;
}

template <typename Rows>
std::vector<std::string> names_of(const Rows& rows) {
  std::vector<std::string> names;
  for (const auto& row : rows) names.emplace_back(row.second);
  return names;
}

constexpr std::int64_t kGptqWindow = 2048;
constexpr std::int64_t kLlamaCppWindow = 512;

}  // namespace

const char* protocol_name(Protocol protocol) {
  return name_of(kProtocols, protocol);
}
std::optional<Protocol> protocol_from_name(std::string_view name) {
  return find(kProtocols, name);
}
std::vector<std::string> protocol_names() {
  return names_of(kProtocols);
}

const char* bos_policy_name(BosPolicy policy) {
  return name_of(kBosPolicies, policy);
}
std::optional<BosPolicy> bos_policy_from_name(std::string_view name) {
  return find(kBosPolicies, name);
}
std::vector<std::string> bos_policy_names() {
  return names_of(kBosPolicies);
}

std::int64_t default_window(Protocol protocol, std::int64_t context_length) {
  switch (protocol) {
    case Protocol::kLmEval:
      return context_length;
    case Protocol::kGptq:
      return std::min(kGptqWindow, context_length);
    case Protocol::kLlamaCpp:
      return kLlamaCppWindow;
  }
  return context_length;
}

}  // namespace aquatint
