// Text to token ids and back, as the Hugging Face `tokenizers` library does it, from
// tokenizer.json: added tokens, normalizer, pre-tokenizer, byte-pair encoding, post-processor and
// decoder of the GPT-2, GPT-NeoX, Llama-2/Mistral, Llama-3 and Qwen2 families. A component this
// class does not know is error kUnsupported naming it. Objects are immutable after loading and may
// be used from several threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aquatint {

using TokenId = std::int32_t;

struct Encoding {
  std::vector<TokenId> ids;
  // Byte range [begin, end) of the input text each token stands for; (0, 0) for tokens the
  // post-processor added.
  std::vector<std::pair<std::size_t, std::size_t>> offsets;
};

class Tokenizer {
 public:
  // Reads tokenizer.json and, when present, tokenizer_config.json of a model folder. add_bos_token
  // and add_eos_token of the latter rebuild the template as transformers does for Llama tokenizers.
  static Tokenizer open(const std::filesystem::path& model_folder);
  // tokenizer.json alone, or with the text of tokenizer_config.json; `origin` is what error
  // messages call them.
  static Tokenizer parse(std::string_view tokenizer_json, const std::string& origin);
  static Tokenizer parse(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                         const std::string& origin);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Ids of a UTF-8 text. Bytes that are not UTF-8 are replaced by U+FFFD first. With
  // `add_special_tokens`, what the post-processor adds (a beginning-of-text token, say) is
  // included.
  std::vector<TokenId> encode(std::string_view text, bool add_special_tokens) const;
  Encoding encode_with_offsets(std::string_view text, bool add_special_tokens) const;

  // Text of the ids; ids without a token are dropped.
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const;

  // Number of ids: one more than the largest.
  std::int64_t vocab_size() const;
  std::optional<TokenId> token_to_id(std::string_view token) const;
  std::optional<std::string> id_to_token(TokenId id) const;
  bool is_special(TokenId id) const;
  // From tokenizer_config.json, else by the usual names; empty when the tokenizer has none.
  std::optional<TokenId> bos_id() const;
  std::optional<TokenId> eos_id() const;
  // Whether encode(…, true) puts a beginning-of-text token in front.
  bool adds_bos() const;

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Decodes one id at a time; push returns the text that is certain so far and never half a
// character. The concatenation of everything returned (finish included) equals Tokenizer::decode of
// all ids.
class StreamDecoder {
 public:
  // The tokenizer must outlive this object.
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;
  std::string push(TokenId id);
  // What was held back. The next push begins a new text.
  std::string finish();

 private:
  struct Run;
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::unique_ptr<Run> run_;
};

}  // namespace aquatint
