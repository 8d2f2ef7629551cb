#include "text/vocabulary.h"

#include <algorithm>

#include "base/error.h"

namespace aquatint::text {

Vocabulary::Vocabulary(std::vector<std::pair<std::string, TokenId>> entries,
                       const std::string& where)
    : entries_(std::move(entries)) {
  ids_.reserve(entries_.size());
  dense_.assign(2 * entries_.size(), nullptr);
  for (const auto& [token, id] : entries_) {
    ids_.emplace(token, id);
    max_id_ = std::max(max_id_, id);
    const auto index = static_cast<std::size_t>(id);
    const std::string*& slot = index < dense_.size() ? dense_[index] : sparse_[id];
    if (slot != nullptr) {
      raise(ErrorKind::kCorrupt, "{}: tokens '{}' and '{}' have the same id {}", where, *slot,
            token, id);
    }
    slot = &token;
  }
}

std::optional<TokenId> Vocabulary::id(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

const std::string* Vocabulary::sparse_token(TokenId id) const {
  const auto it = sparse_.find(id);
  return it == sparse_.end() ? nullptr : it->second;
}

}  // namespace aquatint::text
