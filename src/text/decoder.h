// The decoder of tokenizer.json: turns token strings back into text. A decoder is a chain of
// stages, each of which sees the tokens one after the other, so that text can be given out as soon
// as it is certain; decoding a whole sequence is the same run to its end.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace aquatint::text {

// One stage at work. Tokens arrive in parts: any number of text() calls, then end_token().
class DecodeStage {
 public:
  virtual ~DecodeStage() = default;
  virtual void text(std::string_view part) = 0;
  virtual void end_token() = 0;
  // After the last token.
  virtual void finish() = 0;
};

// A run of the chain over one sequence.
class DecodeRun {
 public:
  void token(std::string_view token) {
    stages_.back()->text(token);
    stages_.back()->end_token();
  }
  void finish() { stages_.back()->finish(); }
  // The text that has become certain since the last call.
  std::string take();

 private:
  friend class Decoder;
  std::unique_ptr<std::string> output_ = std::make_unique<std::string>();
  std::vector<std::unique_ptr<DecodeStage>> stages_;  // last to first
};

class DecodeStageMaker {
 public:
  virtual ~DecodeStageMaker() = default;
  virtual std::unique_ptr<DecodeStage> make(DecodeStage& next) const = 0;
};

class Decoder {
 public:
  // From the "decoder" member; null joins the tokens with blanks. Error kUnsupported for an unknown
  // type.
  static Decoder parse(const nlohmann::json& spec, const std::string& where);
  DecodeRun start() const;

 private:
  std::vector<std::shared_ptr<const DecodeStageMaker>> makers_;
};

}  // namespace aquatint::text
