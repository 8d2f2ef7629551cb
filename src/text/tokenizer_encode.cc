// How text becomes ids: once for ids alone, as fast as it goes, and once keeping track of offsets.
#include <limits>

#include "base/error.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace aquatint::text {

std::unique_ptr<BpeScratch> ScratchPool::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto scratch = std::move(idle_.back());
      idle_.pop_back();
      return scratch;
    }
  }
  return std::make_unique<BpeScratch>();
}

void ScratchPool::put_back(std::unique_ptr<BpeScratch> scratch) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(scratch));
}

}  // namespace aquatint::text

namespace aquatint {

using text::AddedPiece;
using text::AlignedText;
using text::BpeScratch;
using text::Words;

namespace {

void check_size(std::string_view input) {
  constexpr std::size_t kLimit = std::numeric_limits<std::uint32_t>::max();
  if (input.size() > kLimit / 4) {  // normalization may lengthen it
    raise(ErrorKind::kUnsupported, "a text of {} bytes is too long to tokenize at once (limit {})",
          input.size(), kLimit / 4);
  }
}

}  // namespace

void Tokenizer::Impl::encode_text(std::string_view input, std::vector<TokenId>& ids) const {
  check_size(input);
  std::string repaired;
  if (!text::is_valid_utf8(input)) {
    text::append_lossy_utf8(input, repaired);
    input = repaired;
  }
  const text::ScratchPool::Loan scratch(scratch_pool_);
  for (const AddedPiece& piece : added.split_input(input)) {
    if (piece.token != nullptr) {
      ids.push_back(piece.token->id);
    } else if (piece.begin < piece.end) {
      encode_piece(input.substr(piece.begin, piece.end - piece.begin),
                   static_cast<std::uint32_t>(piece.begin), *scratch, ids);
    }
  }
}

// A piece without added tokens of the input, `offset` bytes from its start.
void Tokenizer::Impl::encode_piece(std::string_view piece, std::uint32_t offset,
                                   BpeScratch& scratch, std::vector<TokenId>& ids) const {
  const bool unchanged = normalizer.is_identity();
  if (!pre_tokenizer.needs_source(unchanged)) {
    if (unchanged && (pre_tokenizer.is_identity() || pre_tokenizer.word_pattern())) {
      encode_normalized(piece, scratch, ids);
      return;
    }
  }
  AlignedText aligned = pre_tokenizer.needs_source(unchanged)
                            ? AlignedText::tracked(piece, offset)
                            : AlignedText::untracked(piece, offset);
  normalizer.apply(aligned);
  if (pre_tokenizer.is_identity() || pre_tokenizer.word_pattern()) {
    encode_normalized(aligned.str(), scratch, ids);
    return;
  }
  const std::vector<AddedPiece> parts = added.split_normalized(aligned.str());
  if (parts.size() == 1 && parts[0].token == nullptr) {
    encode_words(std::move(aligned), scratch, ids);
    return;
  }
  for (const AddedPiece& part : parts) {
    if (part.token != nullptr) {
      ids.push_back(part.token->id);
      continue;
    }
    const std::uint32_t part_offset = offset + static_cast<std::uint32_t>(part.begin);
    AlignedText words =
        aligned.is_tracked() ? AlignedText::like(aligned) : AlignedText::untracked({}, part_offset);
    words.append(aligned, part.begin, part.end);
    encode_words(std::move(words), scratch, ids);
  }
}

// The usual case: the words are cut by a known pattern, or not at all.
void Tokenizer::Impl::encode_normalized(std::string_view piece, BpeScratch& scratch,
                                        std::vector<TokenId>& ids) const {
  const auto pattern = pre_tokenizer.word_pattern();
  for (const AddedPiece& part : added.split_normalized(piece)) {
    if (part.token != nullptr) {
      ids.push_back(part.token->id);
      continue;
    }
    const std::string_view words = piece.substr(part.begin, part.end - part.begin);
    if (!pattern) {
      bpe.encode(words, scratch, ids);
      continue;
    }
    for (std::size_t begin = 0; begin < words.size();) {
      const std::size_t end = text::word_end(*pattern, words, begin);
      bpe.encode(words.substr(begin, end - begin), scratch, ids);
      begin = end;
    }
  }
}

void Tokenizer::Impl::encode_words(AlignedText piece, BpeScratch& scratch,
                                   std::vector<TokenId>& ids) const {
  if (piece.empty()) return;
  Words words{std::move(piece), {}};
  words.ranges.push_back({0, words.text.str().size()});
  pre_tokenizer.apply(words);
  for (const Words::Range& range : words.ranges) {
    bpe.encode(words.text.view(range.begin, range.end), scratch, ids);
  }
}

// Collects ids together with the input bytes they stand for.
struct Tokenizer::Impl::OffsetEncoder {
  const Impl& impl;
  std::string_view input;
  BpeScratch& scratch;
  Encoding out{};

  void add(TokenId id, text::SourceRange source, std::string_view token) {
    std::pair<std::size_t, std::size_t> offsets{source.begin, source.end};
    if (!impl.post_processor.trims().empty()) {
      const text::TokenBlanks blanks = text::count_blanks(token);
      for (const bool prefix_space : impl.post_processor.trims()) {
        text::trim_offsets(input, blanks, out.ids.empty(), prefix_space, offsets);
      }
    }
    out.ids.push_back(id);
    out.offsets.push_back(offsets);
  }

  void add_token(const AlignedText& from, const AddedPiece& piece) {
    add(piece.token->id, from.source(piece.begin, piece.end), from.view(piece.begin, piece.end));
  }

  void encode_words(AlignedText piece) {
    if (piece.empty()) return;
    Words words{std::move(piece), {}};
    words.ranges.push_back({0, words.text.str().size()});
    impl.pre_tokenizer.apply(words);
    for (const Words::Range& range : words.ranges) {
      impl.bpe.encode_symbols(words.text.view(range.begin, range.end), scratch);
      for (const text::Symbol& symbol : scratch.symbols) {
        add(symbol.id, words.text.source(range.begin + symbol.begin, range.begin + symbol.end),
            *impl.bpe.vocabulary().token(symbol.id));
      }
    }
  }

  void encode_piece(AlignedText piece) {
    impl.normalizer.apply(piece);
    for (const AddedPiece& part : impl.added.split_normalized(piece.str())) {
      if (part.token != nullptr) {
        add_token(piece, part);
        continue;
      }
      AlignedText words = AlignedText::like(piece);
      words.append(piece, part.begin, part.end);
      encode_words(std::move(words));
    }
  }
};

Encoding Tokenizer::Impl::encode_text_with_offsets(std::string_view input) const {
  check_size(input);
  const text::ScratchPool::Loan scratch(scratch_pool_);
  const AlignedText aligned = AlignedText::tracked(input, 0);
  OffsetEncoder encoder{*this, input, *scratch};
  for (const AddedPiece& piece : added.split_input(aligned.str())) {
    if (piece.token != nullptr) {
      encoder.add_token(aligned, piece);
      continue;
    }
    AlignedText text = AlignedText::like(aligned);
    text.append(aligned, piece.begin, piece.end);
    encoder.encode_piece(std::move(text));
  }
  return std::move(encoder.out);
}

}  // namespace aquatint
