#include "text/pre_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/json_fields.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace aquatint::text {
namespace {

using nlohmann::json;

enum class SplitBehavior {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

SplitBehavior parse_behavior(const std::string& name, const std::string& where) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  raise(ErrorKind::kCorrupt, "{}: unknown split behavior '{}'", where, name);
}

// Joins neighbouring parts as the behavior says. A part joins the one before it, or, reading
// backwards, the one after it.
std::vector<MatchPart> arrange(std::vector<MatchPart> parts, SplitBehavior behavior) {
  if (behavior == SplitBehavior::kIsolated) return parts;
  if (behavior == SplitBehavior::kRemoved) {
    std::erase_if(parts, [](const MatchPart& part) { return part.is_match; });
    return parts;
  }
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (backwards) std::reverse(parts.begin(), parts.end());
  std::vector<MatchPart> out;
  bool previous = false;
  for (const MatchPart& part : parts) {
    const bool joins = behavior == SplitBehavior::kContiguous ? part.is_match == previous
                                                              : part.is_match && !previous;
    if (joins && !out.empty()) {
      (backwards ? out.back().begin : out.back().end) = backwards ? part.begin : part.end;
    } else {
      out.push_back(part);
    }
    previous = part.is_match;
  }
  if (backwards) std::reverse(out.begin(), out.end());
  return out;
}

// Cuts every word by its own parts.
template <typename FindParts>
void split_words(Words& words, SplitBehavior behavior, const FindParts& find_parts) {
  std::vector<Words::Range> out;
  for (const Words::Range& range : words.ranges) {
    auto parts = arrange(find_parts(words.text.view(range.begin, range.end)), behavior);
    for (const MatchPart& part : parts) {
      if (part.begin < part.end) out.push_back({range.begin + part.begin, range.begin + part.end});
    }
  }
  words.ranges.swap(out);
}

// Parts of which each character that `is_match` accepts is one.
template <typename Predicate>
std::vector<MatchPart> match_characters(std::string_view text, const Predicate& is_match) {
  std::vector<MatchPart> parts;
  std::size_t covered = 0;
  for (std::size_t i = 0; i < text.size();) {
    const DecodedChar c = decode_utf8(text.data() + i);
    if (is_match(c.code_point)) {
      if (covered < i) parts.push_back({covered, i, false});
      covered = i + c.size;
      parts.push_back({i, covered, true});
    }
    i += c.size;
  }
  if (covered < text.size()) parts.push_back({covered, text.size(), false});
  return parts;
}

class ScanStep final : public PreTokenizerStep {
 public:
  explicit ScanStep(WordPattern pattern) : pattern_(pattern) {}
  std::optional<WordPattern> word_pattern() const override { return pattern_; }
  void apply(Words& words) const override {
    std::vector<Words::Range> out;
    for (const Words::Range& range : words.ranges) {
      const std::string_view text = words.text.view(range.begin, range.end);
      for (std::size_t i = 0; i < text.size();) {
        const std::size_t end = word_end(pattern_, text, i);
        out.push_back({range.begin + i, range.begin + end});
        i = end;
      }
    }
    words.ranges.swap(out);
  }

 private:
  WordPattern pattern_;
};

class SplitStep final : public PreTokenizerStep {
 public:
  SplitStep(Regex regex, SplitBehavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}
  void apply(Words& words) const override {
    split_words(words, behavior_, [&](std::string_view text) {
      std::vector<MatchPart> parts = regex_.find_all(text);
      for (MatchPart& part : parts) part.is_match = part.is_match != invert_;
      return parts;
    });
  }

 private:
  Regex regex_;
  SplitBehavior behavior_;
  bool invert_;
};

class DigitsStep final : public PreTokenizerStep {
 public:
  explicit DigitsStep(bool individual) : individual_(individual) {}
  void apply(Words& words) const override {
    const auto behavior = individual_ ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
    split_words(words, behavior,
                [](std::string_view text) { return match_characters(text, is_numeric); });
  }

 private:
  bool individual_;
};

class WhitespaceSplitStep final : public PreTokenizerStep {
 public:
  void apply(Words& words) const override {
    split_words(words, SplitBehavior::kRemoved,
                [](std::string_view text) { return match_characters(text, is_white_space); });
  }
};

// Rebuilds the text word by word.
template <typename Rewrite>
void rewrite_words(Words& words, const Rewrite& rewrite) {
  Words out{AlignedText::like(words.text), {}};
  out.text.reserve(words.text.str().size());
  for (const Words::Range& range : words.ranges) {
    const std::size_t begin = out.text.str().size();
    rewrite(range, out.text);
    if (out.text.str().size() > begin) out.ranges.push_back({begin, out.text.str().size()});
  }
  words.text.swap(out.text);
  words.ranges.swap(out.ranges);
}

// Puts a blank before every piece that has none.
class PrefixSpaceStep final : public PreTokenizerStep {
 public:
  void apply(Words& words) const override {
    rewrite_words(words, [&](const Words::Range& range, AlignedText& out) {
      if (words.text.str()[range.begin] != ' ') {
        out.append(" ", words.text.source_or_start(range.begin));
      }
      out.append(words.text, range.begin, range.end);
    });
  }
};

class ByteMapStep final : public PreTokenizerStep {
 public:
  void apply(Words& words) const override {
    rewrite_words(words, [&](const Words::Range& range, AlignedText& out) {
      for (std::size_t i = range.begin; i < range.end; ++i) {
        const auto byte = static_cast<std::uint8_t>(words.text.str()[i]);
        out.append(byte_to_symbol(byte), words.text.source_or_start(i));
      }
    });
  }
};

enum class PrependScheme { kFirst, kAlways, kNever };

class MetaspaceStep final : public PreTokenizerStep {
 public:
  MetaspaceStep(char32_t replacement, PrependScheme scheme, bool split)
      : replacement_(replacement), scheme_(scheme), split_(split) {
    append_utf8(replacement, bytes_);
  }
  bool needs_source() const override { return scheme_ == PrependScheme::kFirst; }
  void apply(Words& words) const override {
    rewrite_words(words, [&](const Words::Range& range, AlignedText& out) {
      const std::string_view word = words.text.view(range.begin, range.end);
      const bool marked = word.starts_with(bytes_) || word.starts_with(' ');
      if (!marked && prepends(words.text.source_or_start(range.begin))) {
        out.append(bytes_, words.text.source_or_start(range.begin));
      }
      for (std::size_t done = 0; done < word.size();) {
        const std::size_t blank = std::min(word.find(' ', done), word.size());
        if (blank > done) out.append(words.text, range.begin + done, range.begin + blank);
        if (blank < word.size()) {
          out.append(bytes_, words.text.source_or_start(range.begin + blank));
        }
        done = blank + 1;
      }
    });
    if (!split_) return;
    split_words(words, SplitBehavior::kMergedWithNext, [this](std::string_view text) {
      return match_characters(text, [this](char32_t c) { return c == replacement_; });
    });
  }

 private:
  bool prepends(SourceRange first_char) const {
    return scheme_ == PrependScheme::kAlways ||
           (scheme_ == PrependScheme::kFirst && first_char.begin == 0);
  }

  char32_t replacement_;
  std::string bytes_;
  PrependScheme scheme_;
  bool split_;
};

using Steps = std::vector<std::unique_ptr<const PreTokenizerStep>>;

void parse_split(const json& spec, const std::string& where, Steps& steps) {
  const json& pattern = object_field(spec, "pattern", where);
  const SplitBehavior behavior = parse_behavior(string_field(spec, "behavior", where), where);
  const bool invert = bool_field(spec, "invert", false, where);
  if (const auto text = optional_string(pattern, "String", where)) {
    steps.push_back(std::make_unique<SplitStep>(Regex::literal(*text, where), behavior, invert));
    return;
  }
  const std::string regex = string_field(pattern, "Regex", where);
  const auto known = known_word_pattern(regex);
  // A known pattern covers every text, so that keeping the matches is all either spelling does.
  if (known &&
      (invert ? behavior == SplitBehavior::kRemoved : behavior == SplitBehavior::kIsolated)) {
    steps.push_back(std::make_unique<ScanStep>(*known));
    return;
  }
  steps.push_back(std::make_unique<SplitStep>(Regex(regex, where), behavior, invert));
}

void parse_metaspace(const json& spec, const std::string& where, Steps& steps) {
  const std::string name = optional_string(spec, "prepend_scheme", where).value_or("always");
  PrependScheme scheme = PrependScheme::kAlways;
  if (name == "first") {
    scheme = PrependScheme::kFirst;
  } else if (name == "never") {
    scheme = PrependScheme::kNever;
  } else if (name != "always") {
    raise(ErrorKind::kCorrupt, "{}: unknown prepend_scheme '{}'", where, name);
  }
  // The older spelling of "never".
  if (!bool_field(spec, "add_prefix_space", true, where)) scheme = PrependScheme::kNever;
  steps.push_back(std::make_unique<MetaspaceStep>(char_field(spec, "replacement", where), scheme,
                                                  bool_field(spec, "split", true, where)));
}

void parse_into(const json& spec, const std::string& where, Steps& steps) {
  if (spec.is_null()) return;
  const std::string type = string_field(spec, "type", where);
  if (type == "Sequence") {
    for (const json& part : array_field(spec, "pretokenizers", where)) {
      parse_into(part, where, steps);
    }
  } else if (type == "ByteLevel") {
    if (bool_field(spec, "add_prefix_space", true, where)) {
      steps.push_back(std::make_unique<PrefixSpaceStep>());
    }
    if (bool_field(spec, "use_regex", true, where)) {
      steps.push_back(std::make_unique<ScanStep>(WordPattern::kGpt2));
    }
    steps.push_back(std::make_unique<ByteMapStep>());
  } else if (type == "Split") {
    parse_split(spec, where, steps);
  } else if (type == "Metaspace") {
    parse_metaspace(spec, where, steps);
  } else if (type == "Digits") {
    steps.push_back(
        std::make_unique<DigitsStep>(bool_field(spec, "individual_digits", false, where)));
  } else if (type == "WhitespaceSplit") {
    steps.push_back(std::make_unique<WhitespaceSplitStep>());
  } else {
    raise(ErrorKind::kUnsupported, "{}: pre-tokenizer type '{}' is not supported", where, type);
  }
}

}  // namespace

PreTokenizer PreTokenizer::parse(const json& spec, const std::string& where) {
  PreTokenizer out;
  parse_into(spec, where, out.steps_);
  // Byte symbols at the end need not be written out: the model can read the bytes themselves.
  if (!out.steps_.empty() && dynamic_cast<const ByteMapStep*>(out.steps_.back().get())) {
    out.steps_.pop_back();
    out.yields_bytes_ = true;
  }
  return out;
}

std::optional<WordPattern> PreTokenizer::word_pattern() const {
  return steps_.size() == 1 ? steps_.front()->word_pattern() : std::nullopt;
}

bool PreTokenizer::needs_source(bool unchanged) const {
  return std::any_of(steps_.begin() + (unchanged && !steps_.empty() ? 1 : 0), steps_.end(),
                     [](const auto& step) { return step->needs_source(); });
}

void PreTokenizer::apply(Words& words) const {
  // A hostile file can chain byte maps, each of which may double the text.
  const std::size_t limit = 64 * words.text.str().size() + (std::size_t{1} << 16);
  for (const auto& step : steps_) {
    step->apply(words);
    if (words.text.str().size() > limit) {
      raise(ErrorKind::kUnsupported,
            "the tokenizer's pre-tokenizer makes a text longer than {} bytes", limit);
    }
  }
}

}  // namespace aquatint::text
