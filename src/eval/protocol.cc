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

constexpr std::int64_t kGptqWindow = 2048;
constexpr std::int64_t kLlamaCppWindow = 512;

}  // namespace

const char* protocol_name(Protocol protocol) {
  for (const auto& [row, name] : kProtocols) {
    if (row == protocol) return name;
  }
  return "unknown";
}

std::optional<Protocol> protocol_from_name(std::string_view name) {
  for (const auto& [protocol, row] : kProtocols) {
    if (name == row) return protocol;
  }
  return std::nullopt;
}

std::vector<std::string> protocol_names() {
  std::vector<std::string> names;
  for (const auto& row : kProtocols) names.emplace_back(row.second);
  return names;
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
