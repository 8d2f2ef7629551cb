#include "text/aligned_text.h"

#include <algorithm>

#include "text/unicode.h"

namespace aquatint::text {

AlignedText AlignedText::untracked(std::string_view text, std::uint32_t offset) {
  AlignedText out;
  out.offset_ = offset;
  out.text_ = text;
  return out;
}

AlignedText AlignedText::tracked(std::string_view text, std::uint32_t offset) {
  AlignedText out;
  out.tracked_ = true;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Unit unit = utf8_unit_at(text, i);
    const auto begin = offset + static_cast<std::uint32_t>(i);
    out.append(unit.valid ? text.substr(i, unit.size) : kReplacementCharacter,
               SourceRange{begin, begin + unit.size});
    i += unit.size;
  }
  return out;
}

AlignedText AlignedText::like(const AlignedText& other) {
  AlignedText out;
  out.tracked_ = other.tracked_;
  out.offset_ = other.offset_;
  return out;
}

SourceRange AlignedText::source_or_start(std::size_t byte) const {
  if (!tracked_) {
    const std::uint32_t at = offset_ + static_cast<std::uint32_t>(byte);
    return {at, at + 1};
  }
  if (byte < ranges_.size()) return ranges_[byte];
  if (ranges_.empty()) return {0, 0};
  return {ranges_.front().begin, ranges_.front().begin};
}

void AlignedText::reserve(std::size_t bytes) {
  text_.reserve(bytes);
  if (tracked_) ranges_.reserve(bytes);
}

void AlignedText::append(const AlignedText& other, std::size_t begin, std::size_t end) {
  text_.append(other.text_, begin, end - begin);
  if (!tracked_) return;
  const auto first = other.ranges_.begin();
  ranges_.insert(ranges_.end(), first + static_cast<std::ptrdiff_t>(begin),
                 first + static_cast<std::ptrdiff_t>(end));
}

void AlignedText::append(std::string_view text, SourceRange range) {
  text_ += text;
  if (tracked_) ranges_.insert(ranges_.end(), text.size(), range);
}

void AlignedText::append(char32_t code_point, SourceRange range) {
  append_utf8(code_point, text_);
  if (tracked_) ranges_.resize(text_.size(), range);
}

void AlignedText::append_edited(const AlignedText& other, std::size_t begin, std::size_t end,
                                std::span<const CharEdit> edits, std::size_t dropped) {
  std::size_t at = begin;  // byte of `other` the next edit refers to
  const auto skip_chars = [&](std::size_t count) {
    for (; count > 0 && at < end; --count) at += decode_utf8(other.text_.data() + at).size;
  };
  skip_chars(dropped);
  for (const CharEdit& edit : edits) {
    SourceRange range{0, 0};
    if (edit.change > 0) {
      range = at == 0 ? SourceRange{other.source_or_start(0).begin, other.source_or_start(0).begin}
                      : other.source_or_start(at - 1);
    } else {
      range = other.source_or_start(std::min(at, end - 1));
      skip_chars(static_cast<std::size_t>(1 - edit.change));
    }
    append(edit.code_point, range);
  }
}

void AlignedText::swap(AlignedText& other) noexcept {
  std::swap(tracked_, other.tracked_);
  std::swap(offset_, other.offset_);
  text_.swap(other.text_);
  ranges_.swap(other.ranges_);
}

}  // namespace aquatint::text
