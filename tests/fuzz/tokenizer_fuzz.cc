// Any text is a tokenizer or an Error. A tokenizer encodes and decodes a fixed text or gives an
// Error; both ways of encoding give the same ids, offsets lie in the text, and streaming agrees
// with decoding.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "fuzz_message.h"
#include "text/tokenizer.h"

namespace {

constexpr std::string_view kText =
    "Hello  world, it's 12 \xE2\x96\x81\xC3\xA9 e\xCC\x81 <s>a b</s>\n\n \xF0\x9F\x91\x8D\xFF \t!";

void check(bool condition) {
  if (!condition) std::abort();
}

void exercise(const aquatint::Tokenizer& tokenizer) {
  const std::vector<aquatint::TokenId> ids = tokenizer.encode(kText, true);
  const aquatint::Encoding encoding = tokenizer.encode_with_offsets(kText, true);
  check(encoding.ids == ids);
  check(encoding.offsets.size() == ids.size());
  for (const auto& [begin, end] : encoding.offsets)
    check(end <= kText.size() && begin <= kText.size());
  const std::string decoded = tokenizer.decode(ids, false);
  aquatint::StreamDecoder stream(tokenizer, false);
  std::string streamed;
  for (const aquatint::TokenId id : ids) streamed += stream.push(id);
  streamed += stream.finish();
  check(streamed == decoded);
  tokenizer.decode(ids, true);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string_view json(reinterpret_cast<const char*>(data), size);
    exercise(aquatint::Tokenizer::parse(json, "fuzz.json"));
  } catch (const aquatint::Error& error) {
    aquatint::check_message(error);
  }
  return 0;
}
