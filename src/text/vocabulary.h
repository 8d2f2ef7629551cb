// Token strings and ids, both ways.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace aquatint::text {

using TokenId = std::int32_t;

class Vocabulary {
 public:
  // Error kCorrupt, starting with `where`, when two tokens share an id.
  Vocabulary(std::vector<std::pair<std::string, TokenId>> entries, const std::string& where);
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  std::optional<TokenId> id(std::string_view token) const;
  // Null for an id no token has.
  const std::string* token(TokenId id) const {
    if (id >= 0 && static_cast<std::size_t>(id) < dense_.size()) {
      return dense_[static_cast<std::size_t>(id)];
    }
    return sparse_token(id);
  }
  std::size_t size() const { return entries_.size(); }
  // -1 when empty.
  TokenId max_id() const { return max_id_; }
  const std::vector<std::pair<std::string, TokenId>>& entries() const { return entries_; }

 private:
  const std::string* sparse_token(TokenId id) const;

  std::vector<std::pair<std::string, TokenId>> entries_;  // never changed: the others point into it
  std::unordered_map<std::string_view, TokenId> ids_;
  // Ids mostly fill a range from 0; those beyond it are looked up.
  std::vector<const std::string*> dense_;
  std::unordered_map<TokenId, const std::string*> sparse_;
  TokenId max_id_ = -1;
};

}  // namespace aquatint::text
