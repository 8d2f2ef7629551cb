#include "text/vocabulary.h"

#include <algorithm>

#include "base/error.h"

namespace aquatint::text {

Vocabulary::Vocabulary(std::vector<std::pair<std::string, TokenId>> entries,
                       const std::string& where)
    : entries_(std::move(entries)) {
  ids_.reserve(entries_.size());
  tokens_.reserve(entries_.size());
  for (const auto& [token, id] : entries_) {
    ids_.emplace(token, id);
    const auto [it, inserted] = tokens_.emplace(id, &token);
    if (!inserted) {
      raise(ErrorKind::kCorrupt, "{}: tokens '{}' and '{}' have the same id {}", where, *it->second,
            token, id);
    }
    max_id_ = std::max(max_id_, id);
  }
}

std::optional<TokenId> Vocabulary::id(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

const std::string* Vocabulary::token(TokenId id) const {
  const auto it = tokens_.find(id);
  return it == tokens_.end() ? nullptr : it->second;
}

}  // namespace aquatint::text
