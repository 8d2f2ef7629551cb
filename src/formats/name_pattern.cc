#include "formats/name_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <string_view>

#include "base/error.h"
#include "base/printable.h"

namespace aquatint {
namespace {

constexpr std::size_t kMaxPattern = 4096;  // characters
constexpr std::uint32_t kMatchLimit =
    20'000;  // steps of one match; a name is some 40 characters long
constexpr std::uint32_t kHeapLimit = 8 << 10;  // KiB of one match

std::string pcre_message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

PCRE2_SPTR text_pointer(const std::string& text) {
  return reinterpret_cast<PCRE2_SPTR>(text.c_str());
}

}  // namespace

struct NamePattern::Code {
  explicit Code(pcre2_code* compiled)
      : code(compiled), context(pcre2_match_context_create(nullptr)) {
    if (context == nullptr) return;
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimit);
  }
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  pcre2_code* code;
  pcre2_match_context* context;
};

NamePattern::NamePattern(const std::string& pattern, const std::string& origin)
    : pattern_(pattern), origin_(origin) {
  if (pattern.size() > kMaxPattern) {
    raise(ErrorKind::kUnsupported, "'{}': a pattern of {} bytes, longer than {}", origin_,
          pattern.size(), kMaxPattern);
  }
  int code = 0;
  PCRE2_SIZE offset = 0;
  constexpr std::uint32_t kOptions =
      PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C;
  pcre2_code* compiled =
      pcre2_compile(text_pointer(pattern_), pattern_.size(), kOptions, &code, &offset, nullptr);
  if (compiled == nullptr) {
    raise(ErrorKind::kUnsupported, "'{}': the pattern 're:{}' is wrong at byte {}: {}", origin_,
          printable(pattern_), offset, pcre_message(code));
  }
  code_ = std::make_shared<const Code>(compiled);
}

bool NamePattern::matches(const std::string& name) const {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  const int result =
      pcre2_match(code_->code, text_pointer(name), name.size(), 0, 0, data, code_->context);
  pcre2_match_data_free(data);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result >= 0) return true;
  raise(ErrorKind::kUnsupported, "'{}': the pattern 're:{}' fails on the name '{}': {}", origin_,
        printable(pattern_), printable(name), pcre_message(result));
}

}  // namespace aquatint
