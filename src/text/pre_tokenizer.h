// The pre-tokenizer of tokenizer.json: cuts a normalized piece of text into the words that
// byte-pair encoding works on one at a time.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "text/aligned_text.h"
#include "text/word_scanner.h"

namespace aquatint::text {

// A text and the words it is cut into: byte ranges [begin, end), in order, none empty.
struct Words {
  struct Range {
    std::size_t begin, end;
  };
  AlignedText text;
  std::vector<Range> ranges;
};

class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep() = default;
  virtual void apply(Words& words) const = 0;
  // Set when the step does no more than cut words by a known pattern.
  virtual std::optional<WordPattern> word_pattern() const { return std::nullopt; }
  // Whether the result depends on where in the input the text stands.
  virtual bool needs_source() const { return false; }
};

class PreTokenizer {
 public:
  // From the "pre_tokenizer" member; null leaves the text in one piece. Error kUnsupported for an
  // unknown type.
  static PreTokenizer parse(const nlohmann::json& spec, const std::string& where);

  bool is_identity() const { return steps_.empty(); }
  // The words are raw bytes that the model is to read as byte symbols (the last step is ByteLevel).
  bool yields_bytes() const { return yields_bytes_; }
  // Set when splitting amounts to one scan with a known pattern.
  std::optional<WordPattern> word_pattern() const;
  // Whether words.text must be tracked because a step asks where in the input its text comes from.
  // `unchanged`: the text is the input's own, so that the first step knows without tracking.
  bool needs_source(bool unchanged) const;
  // Cuts words.text; words.ranges holds the pieces it is in so far.
  void apply(Words& words) const;

 private:
  std::vector<std::unique_ptr<const PreTokenizerStep>> steps_;
  bool yields_bytes_ = false;
};

}  // namespace aquatint::text
