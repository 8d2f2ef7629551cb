// Runs a tokenizer over texts from standard input, for comparison with another implementation.
// Usage: tokenize_lines TOKENIZER.json < texts > results. All numbers are little-endian 32-bit.
// A text is its length and its bytes. Its result is: number of ids and ids of encode; the same of
// encode_with_offsets, then begin and end of each; length and bytes of the decoded text, once with
// and once without special tokens; 1 if decoding it as a stream gave the same in whole characters,
// else 0.
#include <cstdint>
#include <iostream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "base/mapped_file.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace {

using aquatint::Encoding;
using aquatint::StreamDecoder;
using aquatint::TokenId;
using aquatint::Tokenizer;

void put(std::size_t value) {
  const auto number = static_cast<std::uint32_t>(value);
  std::cout.write(reinterpret_cast<const char*>(&number), sizeof number);
}

void put_text(const std::string& text) {
  put(text.size());
  std::cout << text;
}

void put_ids(const std::vector<TokenId>& ids) {
  put(ids.size());
  for (const TokenId id : ids) put(static_cast<std::size_t>(id));
}

bool stream_agrees(const Tokenizer& tokenizer, const std::vector<TokenId>& ids,
                   const std::string& expected, bool skip) {
  StreamDecoder stream(tokenizer, skip);
  std::string all;
  const auto take = [&](const std::string& part) {
    all += part;
    return aquatint::text::is_valid_utf8(part);
  };
  for (const TokenId id : ids) {
    if (!take(stream.push(id))) return false;
  }
  return take(stream.finish()) && all == expected;
}

void run(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<TokenId> ids = tokenizer.encode(text, true);
  const Encoding encoding = tokenizer.encode_with_offsets(text, true);
  put_ids(ids);
  put_ids(encoding.ids);
  for (const auto& [begin, end] : encoding.offsets) {
    put(begin);
    put(end);
  }
  const std::string all = tokenizer.decode(ids, false);
  const std::string plain = tokenizer.decode(ids, true);
  put_text(all);
  put_text(plain);
  put(stream_agrees(tokenizer, ids, all, false) && stream_agrees(tokenizer, ids, plain, true));
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: tokenize_lines TOKENIZER.json < texts > results\n";
    return 2;
  }
  std::ios::sync_with_stdio(false);
  const Tokenizer tokenizer = Tokenizer::parse(aquatint::read_text_file(argv[1]), argv[1]);
  const std::string input{std::istreambuf_iterator<char>(std::cin), {}};
  for (std::size_t pos = 0; pos + 4 <= input.size();) {
    std::uint32_t size = 0;
    input.copy(reinterpret_cast<char*>(&size), 4, pos);
    run(tokenizer, input.substr(pos + 4, size));
    pos += 4 + std::size_t{size};
  }
  return 0;
} catch (const aquatint::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
