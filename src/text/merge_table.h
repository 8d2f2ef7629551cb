// Which neighbouring tokens join, and in which order: a read-only hash table from pairs of ids to
// the rank of their merge. It is asked for every pair of every word, so it is one probe into flat
// memory.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "text/vocabulary.h"

namespace aquatint::text {

class MergeTable {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  explicit MergeTable(std::size_t expected)
      : slots_(std::bit_ceil(2 * expected + 2)), merged_(expected) {}

  // A pair given twice keeps the later rank; ranks are below the expected number of pairs.
  void insert(TokenId left, TokenId right, std::uint32_t rank, TokenId merged) {
    Slot& slot = slots_[find(key_of(left, right))];
    slot = {key_of(left, right), rank};
    merged_[rank] = merged;
  }

  // Rank of the merge of two neighbours: lower goes first; kNone if they do not join.
  std::uint32_t rank(TokenId left, TokenId right) const {
    return slots_[find(key_of(left, right))].rank;
  }
  TokenId merged(std::uint32_t rank) const { return merged_[rank]; }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t rank = kNone;
  };

  // Never 0, which marks an empty slot.
  static std::uint64_t key_of(TokenId left, TokenId right) {
    return ((static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint32_t>(right)) + 1;
  }
  // The slot of the key, or the empty one where it would go. The table is at most half full.
  std::size_t find(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::uint64_t hash = key * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    std::size_t i = hash & mask;
    while (slots_[i].key != 0 && slots_[i].key != key) i = (i + 1) & mask;
    return i;
  }

  std::vector<Slot> slots_;
  std::vector<TokenId> merged_;
};

}  // namespace aquatint::text
