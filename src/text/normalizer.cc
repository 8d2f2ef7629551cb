#include "text/normalizer.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/json_fields.h"
#include "text/regex.h"
#include "text/unicode.h"
#include "text/unicode_normalization.h"

namespace aquatint::text {
namespace {

using nlohmann::json;

// A hostile file can make a short text grow without bound (a chain of doubling replacements).
void check_growth(const AlignedText& text, std::size_t limit) {
  if (text.str().size() > limit) {
    raise(ErrorKind::kUnsupported, "the tokenizer's normalizer makes a text longer than {} bytes",
          limit);
  }
}

class UnicodeStep final : public NormalizerStep {
 public:
  explicit UnicodeStep(NormalizationForm form) : form_(form) {}
  void apply(AlignedText& text, std::size_t) const override { normalize_unicode(form_, text); }

 private:
  NormalizationForm form_;
};

class PrependStep final : public NormalizerStep {
 public:
  explicit PrependStep(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(AlignedText& text, std::size_t limit) const override {
    if (text.empty() || prefix_.empty()) return;
    AlignedText out = AlignedText::like(text);
    out.reserve(text.str().size() + prefix_.size());
    // What is inserted stands for the first character.
    out.append(prefix_, text.source_or_start(0));
    out.append(text, 0, text.str().size());
    check_growth(out, limit);
    text.swap(out);
  }

 private:
  std::string prefix_;
};

class ReplaceStringStep final : public NormalizerStep {
 public:
  ReplaceStringStep(std::string from, std::string to)
      : from_(std::move(from)), to_(std::move(to)) {}
  void apply(AlignedText& text, std::size_t limit) const override {
    const std::string& str = text.str();
    std::size_t match = str.find(from_);
    if (match == std::string::npos) return;
    AlignedText out = AlignedText::like(text);
    out.reserve(str.size() + str.size() / 4 * (to_.size() > from_.size() ? 2 : 1));
    std::size_t done = 0;
    for (; match != std::string::npos; match = str.find(from_, done)) {
      if (match > done) out.append(text, done, match);
      done = match + from_.size();
      // The replacement stands for the last character of what it replaces, as in the reference.
      out.append(to_, text.source_or_start(done - 1));
      check_growth(out, limit);
    }
    out.append(text, done, str.size());
    text.swap(out);
  }

 private:
  std::string from_, to_;
};

class ReplaceRegexStep final : public NormalizerStep {
 public:
  ReplaceRegexStep(Regex from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}
  void apply(AlignedText& text, std::size_t limit) const override {
    AlignedText out = AlignedText::like(text);
    for (const MatchPart& part : from_.find_all(text.str())) {
      if (part.is_match) {
        out.append(to_, text.source_or_start(part.end == 0 ? 0 : part.end - 1));
        check_growth(out, limit);
      } else {
        out.append(text, part.begin, part.end);
      }
    }
    text.swap(out);
  }

 private:
  Regex from_;
  std::string to_;
};

class StripStep final : public NormalizerStep {
 public:
  StripStep(bool left, bool right) : left_(left), right_(right) {}
  void apply(AlignedText& text, std::size_t) const override {
    const std::string& str = text.str();
    std::size_t begin = 0;
    std::size_t end = str.size();
    while (left_ && begin < end) {
      const DecodedChar c = decode_utf8(str.data() + begin);
      if (!is_white_space(c.code_point)) break;
      begin += c.size;
    }
    while (right_ && begin < end) {
      const DecodedChar c = decode_utf8_before(str.data() + begin, str.data() + end);
      if (!is_white_space(c.code_point)) break;
      end -= c.size;
    }
    if (begin == 0 && end == str.size()) return;
    AlignedText out = AlignedText::like(text);
    out.append(text, begin, end);
    text.swap(out);
  }

 private:
  bool left_, right_;
};

// Rewrites character by character; the new ones stand for the old one.
class MapStep : public NormalizerStep {
 public:
  void apply(AlignedText& text, std::size_t) const override {
    const std::string& str = text.str();
    AlignedText out = AlignedText::like(text);
    out.reserve(str.size());
    std::u32string mapped;
    for (std::size_t i = 0; i < str.size();) {
      const DecodedChar c = decode_utf8(str.data() + i);
      mapped.clear();
      map(c.code_point, std::string_view(str).substr(i, c.size), mapped);
      for (const char32_t code_point : mapped) out.append(code_point, text.source_or_start(i));
      i += c.size;
    }
    text.swap(out);
  }

 protected:
  virtual void map(char32_t code_point, std::string_view bytes, std::u32string& out) const = 0;
};

class LowercaseStep final : public MapStep {
  void map(char32_t code_point, std::string_view, std::u32string& out) const override {
    append_lower(code_point, out);
  }
};

class StripAccentsStep final : public MapStep {
  void map(char32_t code_point, std::string_view, std::u32string& out) const override {
    if (!is_combining_mark(code_point)) out.push_back(code_point);
  }
};

class ByteLevelStep final : public MapStep {
  void map(char32_t, std::string_view bytes, std::u32string& out) const override {
    for (const char byte : bytes) out.push_back(byte_to_symbol(static_cast<std::uint8_t>(byte)));
  }
};

std::unique_ptr<const NormalizerStep> parse_replace(const json& spec, const std::string& where) {
  const json& pattern = object_field(spec, "pattern", where);
  std::string content = string_field(spec, "content", where);
  if (const auto text = optional_string(pattern, "String", where)) {
    if (text->empty()) raise(ErrorKind::kCorrupt, "{}: Replace has an empty pattern", where);
    return std::make_unique<ReplaceStringStep>(*text, std::move(content));
  }
  return std::make_unique<ReplaceRegexStep>(Regex(string_field(pattern, "Regex", where), where),
                                            std::move(content));
}

std::unique_ptr<const NormalizerStep> parse_step(const json& spec, const std::string& type,
                                                 const std::string& where) {
  if (type == "NFC") return std::make_unique<UnicodeStep>(NormalizationForm::kNfc);
  if (type == "NFD") return std::make_unique<UnicodeStep>(NormalizationForm::kNfd);
  if (type == "NFKC") return std::make_unique<UnicodeStep>(NormalizationForm::kNfkc);
  if (type == "NFKD") return std::make_unique<UnicodeStep>(NormalizationForm::kNfkd);
  if (type == "Prepend") return std::make_unique<PrependStep>(string_field(spec, "prepend", where));
  if (type == "Replace") return parse_replace(spec, where);
  if (type == "Lowercase") return std::make_unique<LowercaseStep>();
  if (type == "StripAccents") return std::make_unique<StripAccentsStep>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelStep>();
  if (type == "Strip") {
    return std::make_unique<StripStep>(bool_field(spec, "strip_left", false, where),
                                       bool_field(spec, "strip_right", false, where));
  }
  raise(ErrorKind::kUnsupported, "{}: normalizer type '{}' is not supported", where, type);
}

void parse_into(const json& spec, const std::string& where,
                std::vector<std::unique_ptr<const NormalizerStep>>& steps) {
  if (spec.is_null()) return;
  const std::string type = string_field(spec, "type", where);
  if (type != "Sequence") {
    steps.push_back(parse_step(spec, type, where));
    return;
  }
  for (const json& part : array_field(spec, "normalizers", where)) parse_into(part, where, steps);
}

}  // namespace

Normalizer Normalizer::parse(const json& spec, const std::string& where) {
  Normalizer normalizer;
  parse_into(spec, where, normalizer.steps_);
  return normalizer;
}

void Normalizer::apply(AlignedText& text) const {
  const std::size_t limit = 64 * text.str().size() + (std::size_t{1} << 16);
  for (const auto& step : steps_) {
    step->apply(text, limit);
    check_growth(text, limit);
  }
}

}  // namespace aquatint::text
