// Text on its way through normalizers, optionally with the range of the original input that each of
// its bytes comes from, so that token offsets can be given in the input. Callers that need no
// offsets leave the ranges out and pay nothing for them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aquatint::text {

// Byte range [begin, end) of the original input.
struct SourceRange {
  std::uint32_t begin, end;
};

// One character of a rewritten text. `change` says how it relates to the text before: 0 replaces
// the next old character, -n replaces it and drops the n after it, 1 is new and belongs to the old
// one before it. (The convention of the reference's NormalizedString, and with it its offsets.)
struct CharEdit {
  char32_t code_point;
  std::int32_t change;
};

class AlignedText {
 public:
  AlignedText() = default;
  // Without source ranges: `text` is taken to stand unchanged at byte `offset` of the input.
  static AlignedText untracked(std::string_view text, std::uint32_t offset = 0);
  // `text` stands at byte `offset` of the input; every byte maps to its whole character. Ill-formed
  // UTF-8 is replaced by U+FFFD that maps to the bytes replaced.
  static AlignedText tracked(std::string_view text, std::uint32_t offset);
  // An empty text that records ranges if `other` does.
  static AlignedText like(const AlignedText& other);

  const std::string& str() const { return text_; }
  std::string_view view(std::size_t begin, std::size_t end) const {
    return std::string_view(text_).substr(begin, end - begin);
  }
  bool empty() const { return text_.empty(); }
  bool is_tracked() const { return tracked_; }
  // Input range of the bytes [begin, end) of this text; begin < end, tracked texts only.
  SourceRange source(std::size_t begin, std::size_t end) const {
    return {ranges_[begin].begin, ranges_[end - 1].end};
  }
  // Source range of one byte; a zero-width one before the text if it is beyond the end. For an
  // untracked text, where the byte stands if nothing has changed the text.
  SourceRange source_or_start(std::size_t byte) const;

  void reserve(std::size_t bytes);
  // Appends bytes [begin, end) of `other` with their ranges.
  void append(const AlignedText& other, std::size_t begin, std::size_t end);
  // Appends text that all maps to `range`.
  void append(std::string_view text, SourceRange range);
  void append(char32_t code_point, SourceRange range);
  // Appends the result of rewriting bytes [begin, end) of `other`, whose first `dropped` characters
  // go.
  void append_edited(const AlignedText& other, std::size_t begin, std::size_t end,
                     std::span<const CharEdit> edits, std::size_t dropped);
  void swap(AlignedText& other) noexcept;

 private:
  bool tracked_ = false;
  std::uint32_t offset_ = 0;  // of an untracked text
  std::string text_;
  std::vector<SourceRange> ranges_;  // one per byte of text_ if tracked
};

}  // namespace aquatint::text
