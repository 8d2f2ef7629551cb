// The parts of a Tokenizer and how text runs through them.
#pragma once

#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace aquatint::text {

// Scratch memory lent to one call at a time, so that calls from several threads each have their own
// and the word cache survives from call to call.
class ScratchPool {
 public:
  class Loan {
   public:
    explicit Loan(ScratchPool& pool) : pool_(pool), scratch_(pool.take()) {}
    ~Loan() { pool_.put_back(std::move(scratch_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    BpeScratch& operator*() const { return *scratch_; }

   private:
    ScratchPool& pool_;
    std::unique_ptr<BpeScratch> scratch_;
  };

 private:
  std::unique_ptr<BpeScratch> take();
  void put_back(std::unique_ptr<BpeScratch> scratch);

  std::mutex mutex_;
  std::vector<std::unique_ptr<BpeScratch>> idle_;
};

}  // namespace aquatint::text

namespace aquatint {

struct Tokenizer::Impl {
  Impl(const nlohmann::json& spec, const std::string& where);
  // What tokenizer_config.json changes.
  void apply_config(const nlohmann::json& config, const std::string& where);

  void encode_text(std::string_view text, std::vector<TokenId>& ids) const;
  Encoding encode_text_with_offsets(std::string_view text) const;
  // The string a token decodes to; null when the id has none or is to be left out.
  const std::string* decoded_token(TokenId id, bool skip_special_tokens) const;
  std::optional<TokenId> id_of(std::string_view token) const;

  text::Normalizer normalizer;
  text::PreTokenizer pre_tokenizer;
  text::Bpe bpe;
  text::AddedTokens added;
  text::PostProcessor post_processor;
  text::Decoder decoder;
  std::optional<TokenId> bos, eos;

 private:
  struct OffsetEncoder;
  void encode_piece(std::string_view piece, std::uint32_t offset, text::BpeScratch& scratch,
                    std::vector<TokenId>& ids) const;
  void encode_normalized(std::string_view piece, text::BpeScratch& scratch,
                         std::vector<TokenId>& ids) const;
  void encode_words(text::AlignedText piece, text::BpeScratch& scratch,
                    std::vector<TokenId>& ids) const;
  std::optional<TokenId> first_known(std::initializer_list<const char*> names) const;

  mutable text::ScratchPool scratch_pool_;
};

}  // namespace aquatint
