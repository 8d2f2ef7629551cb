#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "base/error.h"
#include "text/unicode.h"

namespace aquatint::text {
namespace {

struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct MatchContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct JitStackDeleter {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

// Scratch of one thread. The machine stack PCRE2 would use by default is too small for long
// matches.
struct MatchScratch {
  std::unique_ptr<pcre2_match_data, MatchDataDeleter> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, MatchContextDeleter> context{
      pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, JitStackDeleter> stack{
      pcre2_jit_stack_create(64u << 10, 64u << 20, nullptr)};
  MatchScratch() { pcre2_jit_stack_assign(context.get(), nullptr, stack.get()); }
};

MatchScratch& match_scratch() {
  thread_local MatchScratch scratch;
  return scratch;
}

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

}  // namespace

struct Regex::Code {
  std::string pattern;  // as the file has it, for messages
  std::string where;
  pcre2_code* code = nullptr;

  Code(std::string_view source, std::string_view translated, bool literal, std::string location)
      : pattern(source), where(std::move(location)) {
    const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
        pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    int error = 0;
    PCRE2_SIZE offset = 0;
    const std::uint32_t options =
        PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE);
    code = pcre2_compile(units(translated), translated.size(), options, &error, &offset,
                         context.get());
    if (code == nullptr) {
      raise(ErrorKind::kUnsupported, "{}: regular expression '{}' cannot be used: {}", where,
            pattern, pcre2_message(error));
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without JIT, matching is only slower
  }
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  // First match at or after `from`, or false.
  bool search(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const {
    MatchScratch& scratch = match_scratch();
    const int rc = pcre2_match(code, units(text), text.size(), from, PCRE2_NO_UTF_CHECK,
                               scratch.data.get(), scratch.context.get());
    if (rc == PCRE2_ERROR_NOMATCH) return false;
    if (rc < 0) {
      raise(ErrorKind::kUnsupported, "{}: regular expression '{}' failed on a text of {} bytes: {}",
            where, pattern, text.size(), pcre2_message(rc));
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.data.get());
    begin = bounds[0];
    end = bounds[1];
    return true;
  }
};

Regex::Regex(std::string_view pattern, const std::string& where)
    : code_(
          std::make_shared<const Code>(pattern, translate_pattern(pattern, where), false, where)) {}

Regex Regex::literal(std::string_view text, const std::string& where) {
  return Regex(std::make_shared<const Code>(text, text, true, where));
}

std::vector<MatchPart> Regex::find_all(std::string_view text) const {
  std::vector<MatchPart> parts;
  std::size_t from = 0;     // where the next search starts
  std::size_t covered = 0;  // end of the last part
  bool any = false;
  std::size_t begin = 0;
  std::size_t end = 0;
  while (from <= text.size() && code_->search(text, from, begin, end)) {
    if (begin == end && any && end == covered) {
      // An empty match right behind the last match does not count: look one character further.
      if (from >= text.size()) break;
      from += decode_utf8(text.data() + from).size;
      continue;
    }
    if (begin != covered) parts.push_back({covered, begin, false});
    parts.push_back({begin, end, true});
    from = covered = end;
    any = true;
  }
  if (covered != text.size()) parts.push_back({covered, text.size(), false});
  return parts;
}

}  // namespace aquatint::text
