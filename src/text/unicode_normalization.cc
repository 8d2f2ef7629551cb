#include "text/unicode_normalization.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "text/unicode.h"
#include "text/unicode_tables.h"

namespace aquatint::text {
namespace {

struct Mark {
  char32_t code_point;
  std::uint8_t combining_class;
  std::int32_t change;
};

bool is_recent(char32_t c) {
  const auto it =
      std::upper_bound(kInertForNormalization.begin(), kInertForNormalization.end(), c,
                       [](char32_t v, const CodePointRange& range) { return v < range.first; });
  return it != kInertForNormalization.begin() && c <= std::prev(it)->last;
}

std::uint8_t combining_class(char32_t c) {
  if (c < 0x300 || is_recent(c)) return 0;
  const auto ccc = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
  return static_cast<std::uint8_t>(ccc);
}

bool is_compatibility(NormalizationForm form) {
  return form == NormalizationForm::kNfkc || form == NormalizationForm::kNfkd;
}
bool is_composed(NormalizationForm form) {
  return form == NormalizationForm::kNfc || form == NormalizationForm::kNfkc;
}

// The composition of two characters by the canonical algorithm, if there is one.
std::optional<char32_t> compose(char32_t a, char32_t b) {
  if (is_recent(a) || is_recent(b)) return std::nullopt;
  std::array<utf8proc_int32_t, 3> pair{static_cast<utf8proc_int32_t>(a),
                                       static_cast<utf8proc_int32_t>(b), 0};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  if (utf8proc_normalize_utf32(pair.data(), 2, options) != 1) return std::nullopt;
  const auto composed = static_cast<char32_t>(pair[0]);
  return is_recent(composed) ? std::nullopt : std::optional(composed);
}

// Appends the full decomposition of `c`.
void decompose(char32_t c, bool compatibility, std::vector<Mark>& out) {
  std::array<utf8proc_int32_t, 32> buffer;
  utf8proc_ssize_t n = 1;
  buffer[0] = static_cast<utf8proc_int32_t>(c);
  if (c >= 0xA0 && !is_recent(c)) {
    const auto options =
        static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0));
    int boundary = 0;
    n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), buffer.data(),
                                static_cast<utf8proc_ssize_t>(buffer.size()), options, &boundary);
    if (n < 1 || n > static_cast<utf8proc_ssize_t>(buffer.size())) n = 1;
  }
  for (utf8proc_ssize_t i = 0; i < n; ++i) {
    const auto part = static_cast<char32_t>(buffer[static_cast<std::size_t>(i)]);
    out.push_back({part, combining_class(part), i == 0 ? 0 : 1});
  }
}

// Stable sort by combining class within every run of non-starters (canonical ordering).
void order_marks(std::vector<Mark>& marks) {
  for (auto it = marks.begin(); it != marks.end();) {
    if (it->combining_class == 0) {
      ++it;
      continue;
    }
    const auto end = std::find_if(it, marks.end(), [](auto& m) { return m.combining_class == 0; });
    std::stable_sort(it, end, [](const Mark& a, const Mark& b) {
      return a.combining_class < b.combining_class;
    });
    it = end;
  }
}

// Canonical composition: each mark joins the last starter unless one of its class or higher blocks
// it.
std::vector<CharEdit> compose_all(const std::vector<Mark>& marks) {
  std::vector<CharEdit> out;
  std::optional<std::size_t> starter;  // index into out
  std::optional<std::uint8_t> last_class;
  for (const Mark& mark : marks) {
    if (starter && (!last_class || *last_class < mark.combining_class)) {
      if (const auto joined = compose(out[*starter].code_point, mark.code_point)) {
        out[*starter] = {*joined, out[*starter].change + mark.change - 1};
        continue;
      }
    }
    out.push_back({mark.code_point, mark.change});
    if (mark.combining_class == 0) {
      starter = out.size() - 1;
      last_class.reset();
    } else if (starter) {
      last_class = mark.combining_class;
    }
  }
  return out;
}

// Whether `c` stays as it is wherever it stands, so that a text can be cut before it.
bool compute_inert(char32_t c, NormalizationForm form) {
  if (is_recent(c)) return true;
  if (combining_class(c) != 0) return false;
  if (is_composed(form)) {
    // Only marks and Hangul vowels and finals can be second in a composition.
    if ((c >= 0x1161 && c <= 0x1175) || (c >= 0x11A8 && c <= 0x11C2)) return false;
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    if (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME) return false;
  }
  std::vector<Mark> marks;
  decompose(c, is_compatibility(form), marks);
  if (!is_composed(form)) return marks.size() == 1 && marks[0].code_point == c;
  const std::vector<CharEdit> composed = compose_all(marks);
  return composed.size() == 1 && composed[0].code_point == c;
}

bool is_inert(char32_t c, NormalizationForm form) {
  constexpr char32_t kTableSize = 0x10000;
  if (c < 0xA0) return true;
  if (form != NormalizationForm::kNfc || c >= kTableSize) return compute_inert(c, form);
  static const std::vector<bool> table = [] {
    std::vector<bool> inert(kTableSize, true);
    for (char32_t i = 0xA0; i < kTableSize; ++i) {
      inert[i] = compute_inert(i, NormalizationForm::kNfc);
    }
    return inert;
  }();
  return table[c];
}

// First byte at or after `pos` of a character that is not inert, and the start of the one before
// it.
struct Disturbance {
  std::size_t previous, at;
};
Disturbance find_disturbance(const std::string& text, std::size_t pos, NormalizationForm form) {
  std::size_t previous = pos;
  while (pos < text.size()) {
    if (static_cast<unsigned char>(text[pos]) < 0x80) {
      previous = pos++;
      continue;
    }
    const DecodedChar c = decode_utf8(text.data() + pos);
    if (!is_inert(c.code_point, form)) break;
    previous = pos;
    pos += c.size;
  }
  return {previous, pos};
}

}  // namespace

void normalize_unicode(NormalizationForm form, AlignedText& text) {
  const std::string& str = text.str();
  Disturbance next = find_disturbance(str, 0, form);
  if (next.at == str.size()) return;
  AlignedText out = AlignedText::like(text);
  out.reserve(str.size());
  std::size_t done = 0;
  std::vector<Mark> marks;
  while (next.at < str.size()) {
    out.append(text, done, next.previous);
    // A segment: the inert character before, which may compose with what follows, up to the next
    // inert.
    std::size_t end = next.previous;
    marks.clear();
    while (end < str.size()) {
      const DecodedChar c = decode_utf8(str.data() + end);
      if (end > next.at && is_inert(c.code_point, form)) break;
      decompose(c.code_point, is_compatibility(form), marks);
      end += c.size;
    }
    order_marks(marks);
    std::vector<CharEdit> edits;
    if (is_composed(form)) {
      edits = compose_all(marks);
    } else {
      for (const Mark& mark : marks) edits.push_back({mark.code_point, mark.change});
    }
    out.append_edited(text, next.previous, end, edits, 0);
    done = end;
    next = find_disturbance(str, end, form);
  }
  out.append(text, done, str.size());
  text.swap(out);
}

}  // namespace aquatint::text
