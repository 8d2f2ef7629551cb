// Ids of words met before. Text repeats its words, and looking one up is far cheaper than merging
// it again. Fixed in size and in layout (one cache line an entry, newest wins), so that it never
// grows.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>

#include "text/vocabulary.h"

namespace aquatint::text {

class WordCache {
 public:
  static constexpr std::size_t kMaxWordBytes = 31;
  static constexpr std::size_t kMaxIds = 7;

  // Zeroed memory straight from the system, touched only where words fall.
  WordCache() : entries_(static_cast<Entry*>(std::calloc(kEntries, sizeof(Entry)))) {
    if (entries_ == nullptr) throw std::bad_alloc();
  }

  // A word prepared for find() and store(); 1 to kMaxWordBytes bytes.
  struct Key {
    std::array<std::uint64_t, 4> words{};
    std::size_t slot = 0;
    explicit Key(std::string_view word) {
      std::array<char, 32> bytes{};
      std::memcpy(bytes.data(), word.data(), word.size());
      bytes[31] = static_cast<char>(word.size());  // also tells the key from an empty entry
      std::memcpy(words.data(), bytes.data(), 32);
      std::uint64_t h = words[0] * 0x9E3779B97F4A7C15u ^ words[1] * 0xC2B2AE3D27D4EB4Fu;
      h ^= words[2] * 0x165667B19E3779F9u ^ words[3] * 0xD6E8FEB86659FD93u;
      h = (h ^ (h >> 32)) * 0x9E3779B97F4A7C15u;
      slot = static_cast<std::size_t>(h >> (64 - kBits));
    }
  };

  // False when the word is not there.
  bool find(const Key& key, std::span<const TokenId>& ids) const {
    const Entry& entry = entries_.get()[key.slot];
    if (entry.words != key.words) return false;
    ids = std::span(entry.ids).first(entry.count);
    return true;
  }
  // Ignores words of too many ids.
  void store(const Key& key, std::span<const TokenId> ids) {
    if (ids.size() > kMaxIds) return;
    Entry& entry = entries_.get()[key.slot];
    entry.words = key.words;
    entry.count = static_cast<std::uint32_t>(ids.size());
    std::memcpy(entry.ids.data(), ids.data(), ids.size() * sizeof(TokenId));
  }

 private:
  struct Entry {
    std::array<std::uint64_t, 4> words;
    std::uint32_t count;
    std::array<TokenId, kMaxIds> ids;
  };
  static_assert(sizeof(Entry) == 64);
  static constexpr int kBits = 16;
  static constexpr std::size_t kEntries = std::size_t{1} << kBits;

  struct Free {
    void operator()(Entry* entries) const { std::free(entries); }
  };
  std::unique_ptr<Entry, Free> entries_;
};

}  // namespace aquatint::text
