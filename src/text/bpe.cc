#include "text/bpe.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace aquatint::text {
namespace {

// Below this many symbols, scanning for the best pair beats keeping a heap.
constexpr std::size_t kShortWord = 48;
constexpr std::uint32_t kEnd = 0xFFFFFFFF;

std::uint32_t offset32(std::size_t offset) {
  return static_cast<std::uint32_t>(offset);
}

}  // namespace

void Bpe::encode(std::string_view word, BpeScratch& scratch, std::vector<TokenId>& ids) const {
  if (anchor_.empty()) {
    encode_part(word, scratch, ids);
    return;
  }
  for (std::size_t begin = 0; begin < word.size();) {
    const std::size_t end = next_cut(word, begin);
    encode_part(word.substr(begin, end - begin), scratch, ids);
    begin = end;
  }
}

void Bpe::encode_symbols(std::string_view word, BpeScratch& scratch) const {
  if (!byte_lengths_.empty()) {
    scratch.ids.clear();
    encode_part(word, scratch, scratch.ids);
    scratch.symbols.clear();
    std::uint32_t begin = 0;
    for (const TokenId id : scratch.ids) {
      const std::uint32_t end = begin + byte_lengths_[static_cast<std::size_t>(id)];
      scratch.symbols.push_back({id, begin, end});
      begin = end;
    }
    return;
  }
  if (options_.ignore_merges) {
    if (const auto id = whole_word(word)) {
      scratch.symbols.assign(1, {*id, 0, offset32(word.size())});
      return;
    }
  }
  if (anchor_.empty()) {
    merge(word, scratch);
    return;
  }
  std::vector<Symbol> all;
  for (std::size_t begin = 0; begin < word.size();) {
    const std::size_t end = next_cut(word, begin);
    merge(word.substr(begin, end - begin), scratch);
    for (const Symbol& symbol : scratch.symbols) {
      all.push_back({symbol.id, symbol.begin + offset32(begin), symbol.end + offset32(begin)});
    }
    begin = end;
  }
  scratch.symbols.swap(all);
}

void Bpe::encode_part(std::string_view part, BpeScratch& scratch, std::vector<TokenId>& ids) const {
  if (part.empty()) return;
  std::optional<WordCache::Key> key;
  if (part.size() <= WordCache::kMaxWordBytes) {
    key.emplace(part);
    std::span<const TokenId> known;
    if (scratch.cache.find(*key, known)) {
      ids.insert(ids.end(), known.begin(), known.end());
      return;
    }
  }
  const std::size_t begin = ids.size();
  const auto whole = options_.ignore_merges ? whole_word(part) : std::nullopt;
  if (whole) {
    ids.push_back(*whole);
  } else {
    merge(part, scratch);
    for (const Symbol& symbol : scratch.symbols) ids.push_back(symbol.id);
  }
  if (key) scratch.cache.store(*key, std::span(ids).subspan(begin));
}

std::optional<TokenId> Bpe::whole_word(std::string_view word) const {
  if (unit_ == WordUnit::kCharacters) return vocabulary_.id(word);
  const auto it = byte_words_.find(std::string(word));
  return it == byte_words_.end() ? std::nullopt : std::optional(it->second);
}

std::size_t Bpe::next_cut(std::string_view word, std::size_t begin) const {
  std::size_t pos = begin + 1;
  while (pos < word.size()) {
    const void* found = std::memchr(word.data() + pos, anchor_[0], word.size() - pos);
    if (found == nullptr) break;
    pos = static_cast<std::size_t>(static_cast<const char*>(found) - word.data());
    if (word.substr(pos).starts_with(anchor_) &&
        !joins_anchor_[static_cast<unsigned char>(word[pos - 1])]) {
      return pos;
    }
    ++pos;
  }
  return word.size();
}

TokenId Bpe::unknown_id() const {
  const auto id = vocabulary_.id(options_.unk_token);
  if (!id) {
    raise(ErrorKind::kCorrupt, "the tokenizer's unk_token '{}' is not in its vocabulary",
          options_.unk_token);
  }
  return *id;
}

TokenId Bpe::character_id(std::string_view character, bool is_first, bool is_last) const {
  if (options_.prefix.empty() && options_.suffix.empty()) {
    const char32_t code_point = decode_utf8(character.data()).code_point;
    if (code_point < characters_.size()) return characters_[code_point];
    return vocabulary_.id(character).value_or(kNoId);
  }
  std::string token(is_first ? std::string_view() : options_.prefix);
  token += character;
  if (is_last) token += options_.suffix;
  return vocabulary_.id(token).value_or(kNoId);
}

void Bpe::append_missing(std::string_view character, Symbol place, std::optional<Symbol>& unknown,
                         std::vector<Symbol>& symbols) const {
  const auto fallback = [this](char c) { return fallback_[static_cast<unsigned char>(c)]; };
  if (options_.byte_fallback &&
      std::none_of(character.begin(), character.end(), [&](char c) { return fallback(c) < 0; })) {
    for (const char c : character) symbols.push_back({fallback(c), place.begin, place.end});
    return;
  }
  if (!options_.has_unk) return;
  if (unknown && options_.fuse_unk) {
    unknown->end = place.end;
    return;
  }
  if (unknown) symbols.push_back(*unknown);
  unknown = Symbol{unknown_id(), place.begin, place.end};
}

void Bpe::split_bytes(std::string_view word, std::vector<Symbol>& symbols) const {
  std::optional<Symbol> unknown;  // held back until what follows is known, as in the reference
  for (std::size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(word[i]);
    const Symbol place{bytes_[byte], offset32(i), offset32(i + 1)};
    if (place.id == kNoId) {
      std::string symbol;
      append_utf8(byte_to_symbol(byte), symbol);
      append_missing(symbol, place, unknown, symbols);
      continue;
    }
    if (unknown) symbols.push_back(*unknown);
    unknown.reset();
    symbols.push_back(place);
  }
  if (unknown) symbols.push_back(*unknown);
}

void Bpe::split_characters(std::string_view word, std::vector<Symbol>& symbols) const {
  std::optional<Symbol> unknown;
  for (std::size_t i = 0; i < word.size();) {
    const std::size_t end = i + decode_utf8(word.data() + i).size;
    const std::string_view character = word.substr(i, end - i);
    const Symbol place{character_id(character, i == 0, end == word.size()), offset32(i),
                       offset32(end)};
    if (place.id == kNoId) {
      std::string decorated;
      if (!options_.prefix.empty() && i > 0) decorated = options_.prefix;
      decorated += character;
      if (end == word.size()) decorated += options_.suffix;
      append_missing(decorated, place, unknown, symbols);
    } else {
      if (unknown) symbols.push_back(*unknown);
      unknown.reset();
      symbols.push_back(place);
    }
    i = end;
  }
  if (unknown) symbols.push_back(*unknown);
}

void Bpe::merge(std::string_view word, BpeScratch& scratch) const {
  scratch.symbols.clear();
  if (unit_ == WordUnit::kBytes) {
    split_bytes(word, scratch.symbols);
  } else {
    split_characters(word, scratch.symbols);
  }
  if (scratch.symbols.size() < kShortWord) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
}

void Bpe::merge_short(BpeScratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  if (symbols.size() < 2) return;
  // ranks[i] is that of the pair (i, i + 1).
  std::vector<std::uint32_t>& ranks = scratch.ranks;
  ranks.clear();
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
    ranks.push_back(merges_.rank(symbols[i].id, symbols[i + 1].id));
  }
  while (!ranks.empty()) {
    const auto best = std::min_element(ranks.begin(), ranks.end());  // the leftmost of equals
    if (*best == MergeTable::kNone) return;
    const auto i = static_cast<std::size_t>(best - ranks.begin());
    symbols[i] = {merges_.merged(*best), symbols[i].begin, symbols[i + 1].end};
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    ranks.erase(best);
    if (i < ranks.size()) ranks[i] = merges_.rank(symbols[i].id, symbols[i + 1].id);
    if (i > 0) ranks[i - 1] = merges_.rank(symbols[i - 1].id, symbols[i].id);
  }
}

// The same with a linked list and a heap of (rank, position). Entries that a merge has made stale
// are recognized when they come up: their pair has another rank by then.
void Bpe::merge_long(BpeScratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<std::uint32_t>& next = scratch.next;
  std::vector<std::uint32_t>& previous = scratch.previous;
  std::vector<std::uint64_t>& heap = scratch.heap;
  const std::size_t count = symbols.size();
  next.resize(count);
  previous.resize(count);
  heap.clear();
  const auto entry = [&](std::uint32_t left, std::uint32_t right) {
    const std::uint32_t rank = merges_.rank(symbols[left].id, symbols[right].id);
    return (std::uint64_t{rank} << 32) | left;
  };
  const auto joins = [](std::uint64_t e) { return (e >> 32) != MergeTable::kNone; };
  for (std::uint32_t i = 0; i < count; ++i) {
    previous[i] = i == 0 ? kEnd : i - 1;
    next[i] = i + 1 == count ? kEnd : i + 1;
    if (next[i] == kEnd) continue;
    const std::uint64_t e = entry(i, i + 1);
    if (joins(e)) heap.push_back(e);
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto push = [&](std::uint32_t left, std::uint32_t right) {
    const std::uint64_t e = entry(left, right);
    if (!joins(e)) return;
    heap.push_back(e);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const std::uint64_t top = heap.back();
    heap.pop_back();
    const auto left = static_cast<std::uint32_t>(top);
    if (symbols[left].id == kNoId || next[left] == kEnd) continue;
    const std::uint32_t right = next[left];
    if (entry(left, right) != top) continue;
    symbols[left] = {merges_.merged(static_cast<std::uint32_t>(top >> 32)), symbols[left].begin,
                     symbols[right].end};
    symbols[right].id = kNoId;
    next[left] = next[right];
    if (next[left] != kEnd) {
      previous[next[left]] = left;
      push(left, next[left]);
    }
    if (previous[left] != kEnd) push(previous[left], left);
  }
  std::erase_if(symbols, [](const Symbol& symbol) { return symbol.id == kNoId; });
}

}  // namespace aquatint::text
