#include "text/decoder.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/json_fields.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace aquatint::text {
namespace {

using nlohmann::json;

// The end of every chain.
class OutputStage final : public DecodeStage {
 public:
  explicit OutputStage(std::string& output) : output_(output) {}
  void text(std::string_view part) override { output_ += part; }
  void end_token() override {}
  void finish() override {}

 private:
  std::string& output_;
};

// Base of stages that need a token as a whole.
class TokenStage : public DecodeStage {
 public:
  explicit TokenStage(DecodeStage& next) : next_(next) {}
  void text(std::string_view part) override {
    // Only a hostile chain of replacements makes such tokens.
    constexpr std::size_t kLimit = std::size_t{64} << 20;
    if (token_.size() + part.size() > kLimit) {
      raise(ErrorKind::kUnsupported, "the tokenizer's decoder makes a token longer than {} bytes",
            kLimit);
    }
    token_ += part;
  }
  void end_token() override {
    token(token_);
    token_.clear();
  }
  void finish() override { next_.finish(); }

 protected:
  virtual void token(std::string_view token) = 0;
  void emit(std::string_view token) {
    next_.text(token);
    next_.end_token();
  }
  DecodeStage& next_;

 private:
  std::string token_;
};

// Without a decoder, tokens are joined with blanks.
class JoinStage final : public TokenStage {
 public:
  using TokenStage::TokenStage;

 private:
  void token(std::string_view token) override {
    if (!first_) emit(" ");
    first_ = false;
    emit(token);
  }
  bool first_ = true;
};

class ReplaceStage final : public TokenStage {
 public:
  ReplaceStage(DecodeStage& next, Regex from, std::string to)
      : TokenStage(next), from_(std::move(from)), to_(std::move(to)) {}

 private:
  void token(std::string_view token) override {
    for (const MatchPart& part : from_.find_all(token)) {
      next_.text(part.is_match ? to_ : token.substr(part.begin, part.end - part.begin));
    }
    next_.end_token();
  }
  Regex from_;
  std::string to_;
};

// Joins the bytes of consecutive <0xHH> tokens. Whether they are text shows only where the run
// ends: one ill-formed byte turns each of them into U+FFFD.
class ByteFallbackStage final : public TokenStage {
 public:
  using TokenStage::TokenStage;
  void finish() override {
    flush();
    TokenStage::finish();
  }

 private:
  void token(std::string_view token) override {
    if (const auto byte = parse_byte(token)) {
      bytes_.push_back(static_cast<char>(*byte));
      return;
    }
    flush();
    emit(token);
  }

  void flush() {
    if (bytes_.empty()) return;
    if (is_valid_utf8(bytes_)) {
      emit(bytes_);
    } else {
      for (std::size_t i = 0; i < bytes_.size(); ++i) emit(kReplacementCharacter);
    }
    bytes_.clear();
  }

  static std::optional<unsigned> parse_byte(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    unsigned value = 0;
    // The reference's parser also takes "+H" for a digit with a sign.
    for (std::size_t i = token[3] == '+' ? 4 : 3; i < 5; ++i) {
      const char c = token[i];
      const bool digit = c >= '0' && c <= '9';
      const char lower = static_cast<char>(c | 0x20);
      if (!digit && (lower < 'a' || lower > 'f')) return std::nullopt;
      value = value * 16 + static_cast<unsigned>(digit ? c - '0' : lower - 'a' + 10);
    }
    return value;
  }

  std::string bytes_;
};

// All tokens become one.
class FuseStage final : public DecodeStage {
 public:
  explicit FuseStage(DecodeStage& next) : next_(next) {}
  void text(std::string_view part) override { next_.text(part); }
  void end_token() override {}
  void finish() override {
    next_.end_token();
    next_.finish();
  }

 private:
  DecodeStage& next_;
};

// Takes up to `start` copies of a character off the start of every token, and up to `stop` off its
// end.
class StripStage final : public DecodeStage {
 public:
  StripStage(DecodeStage& next, char32_t content, std::size_t start, std::size_t stop)
      : next_(next), start_(start), stop_(stop), leading_(start) {
    append_utf8(content, content_);
  }

  void text(std::string_view part) override {
    while (!part.empty()) {
      const std::string_view c = part.substr(0, decode_utf8(part.data()).size);
      part.remove_prefix(c.size());
      if (c != content_) {
        leading_ = 0;
        for (; held_ > 0; --held_) next_.text(content_);
        next_.text(c);
      } else if (leading_ > 0) {
        --leading_;
      } else if (held_ < stop_) {
        ++held_;
      } else {
        next_.text(c);
      }
    }
  }
  void end_token() override {
    leading_ = start_;
    held_ = 0;
    next_.end_token();
  }
  void finish() override { next_.finish(); }

 private:
  DecodeStage& next_;
  std::string content_;
  std::size_t start_, stop_;
  std::size_t leading_;   // copies that may still be taken off the start
  std::size_t held_ = 0;  // copies that may turn out to be the token's end
};

// Bytes of byte-level tokens, joined to one text; what is not UTF-8 is replaced.
class ByteLevelStage final : public TokenStage {
 public:
  using TokenStage::TokenStage;
  void finish() override {
    std::string rest;
    append_lossy_utf8(bytes_, rest);
    bytes_.clear();
    next_.text(rest);
    next_.end_token();
    TokenStage::finish();
  }

 private:
  void token(std::string_view token) override {
    if (const auto bytes = symbols_to_bytes(token)) {
      bytes_ += *bytes;
    } else {
      bytes_ += token;
    }
    // Everything up to a character whose end is still to come.
    std::string ready;
    std::size_t done = 0;
    while (done < bytes_.size()) {
      const Utf8Unit unit = utf8_unit_at(bytes_, done);
      if (unit.truncated) break;
      ready +=
          unit.valid ? std::string_view(bytes_).substr(done, unit.size) : kReplacementCharacter;
      done += unit.size;
    }
    bytes_.erase(0, done);
    next_.text(ready);
  }
  std::string bytes_;
};

class MetaspaceStage final : public TokenStage {
 public:
  MetaspaceStage(DecodeStage& next, char32_t replacement, bool drop_first)
      : TokenStage(next), drop_(drop_first) {
    append_utf8(replacement, replacement_);
  }

 private:
  void token(std::string_view token) override {
    std::string out;
    for (std::size_t i = 0; i < token.size();) {
      const std::string_view c = token.substr(i, decode_utf8(token.data() + i).size);
      if (c != replacement_) {
        out += c;
      } else if (!drop_) {
        out += ' ';
      }
      i += c.size();
    }
    drop_ = false;
    emit(out);
  }
  std::string replacement_;
  bool drop_;  // still at the first token, whose marks vanish
};

template <typename Make>
class Maker final : public DecodeStageMaker {
 public:
  explicit Maker(Make make) : make_(std::move(make)) {}
  std::unique_ptr<DecodeStage> make(DecodeStage& next) const override { return make_(next); }

 private:
  Make make_;
};

template <typename Make>
std::shared_ptr<const DecodeStageMaker> maker(Make make) {
  return std::make_shared<const Maker<Make>>(std::move(make));
}

template <typename Stage>
std::shared_ptr<const DecodeStageMaker> simple_maker() {
  return maker([](DecodeStage& next) { return std::make_unique<Stage>(next); });
}

std::shared_ptr<const DecodeStageMaker> parse_replace(const json& spec, const std::string& where) {
  const json& pattern = object_field(spec, "pattern", where);
  const auto text = optional_string(pattern, "String", where);
  Regex from =
      text ? Regex::literal(*text, where) : Regex(string_field(pattern, "Regex", where), where);
  return maker([from, to = string_field(spec, "content", where)](DecodeStage& next) {
    return std::make_unique<ReplaceStage>(next, from, to);
  });
}

std::shared_ptr<const DecodeStageMaker> parse_strip(const json& spec, const std::string& where) {
  const char32_t content = char_field(spec, "content", where);
  const auto start = static_cast<std::size_t>(count_field(spec, "start", where));
  const auto stop = static_cast<std::size_t>(count_field(spec, "stop", where));
  return maker([content, start, stop](DecodeStage& next) {
    return std::make_unique<StripStage>(next, content, start, stop);
  });
}

std::shared_ptr<const DecodeStageMaker> parse_metaspace(const json& spec,
                                                        const std::string& where) {
  const char32_t replacement = char_field(spec, "replacement", where);
  const bool drop = bool_field(spec, "add_prefix_space", true, where) &&
                    optional_string(spec, "prepend_scheme", where).value_or("always") != "never";
  return maker([replacement, drop](DecodeStage& next) {
    return std::make_unique<MetaspaceStage>(next, replacement, drop);
  });
}

void parse_into(const json& spec, const std::string& where,
                std::vector<std::shared_ptr<const DecodeStageMaker>>& makers) {
  const std::string type = string_field(spec, "type", where);
  if (type == "Sequence") {
    for (const json& part : array_field(spec, "decoders", where)) parse_into(part, where, makers);
  } else if (type == "ByteLevel") {
    makers.push_back(simple_maker<ByteLevelStage>());
  } else if (type == "ByteFallback") {
    makers.push_back(simple_maker<ByteFallbackStage>());
  } else if (type == "Fuse") {
    makers.push_back(simple_maker<FuseStage>());
  } else if (type == "Replace") {
    makers.push_back(parse_replace(spec, where));
  } else if (type == "Strip") {
    makers.push_back(parse_strip(spec, where));
  } else if (type == "Metaspace") {
    makers.push_back(parse_metaspace(spec, where));
  } else {
    raise(ErrorKind::kUnsupported, "{}: decoder type '{}' is not supported", where, type);
  }
}

}  // namespace

std::string DecodeRun::take() {
  std::string out;
  out.swap(*output_);
  return out;
}

Decoder Decoder::parse(const json& spec, const std::string& where) {
  Decoder decoder;
  if (spec.is_null()) {
    decoder.makers_.push_back(simple_maker<JoinStage>());
  } else {
    parse_into(spec, where, decoder.makers_);
  }
  return decoder;
}

DecodeRun Decoder::start() const {
  DecodeRun run;
  run.stages_.push_back(std::make_unique<OutputStage>(*run.output_));
  for (auto it = makers_.rbegin(); it != makers_.rend(); ++it) {
    run.stages_.push_back((*it)->make(*run.stages_.back()));
  }
  return run;
}

}  // namespace aquatint::text
