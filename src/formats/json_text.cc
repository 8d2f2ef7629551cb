#include "formats/json_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/printable.h"

namespace aquatint {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::array<std::string_view, 3> kNonFinite = {"NaN", "Infinity", "-Infinity"};

// "line 3, column 7" of a byte of the text, both from 1; columns count bytes.
std::string position_text(std::string_view text, std::size_t byte) {
  byte = std::min(byte, text.size());
  const std::string_view before = text.substr(0, byte);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t newline = before.rfind('\n');
  const std::size_t column = newline == std::string_view::npos ? byte + 1 : byte - newline;
  return fmt::format("line {}, column {}", line, column);
}

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '+' ||
         c == '.' || static_cast<unsigned char>(c) >= 0x80;
}

// Walks the text outside its strings: checks the nesting and replaces the non-standard literals.
class Rewriter {
 public:
  Rewriter(std::string_view text, const std::string& origin) : text_(text), origin_(origin) {}

  // Standard JSON; only valid if the text is otherwise.
  std::string run() {
    while (position_ < text_.size()) step();
    result_.append(text_.substr(copied_));
    return std::move(result_);
  }

  bool replaced() const { return !edits_.empty(); }

  // The byte of the original text that a byte of the result comes from.
  std::size_t original(std::size_t byte) const {
    std::size_t shift = 0;
    for (const Edit& edit : edits_) {
      if (byte < edit.result_end) {
        return byte < edit.result_begin ? byte - shift : edit.original_begin;
      }
      shift = edit.result_end - edit.original_end;
    }
    return byte - shift;
  }

 private:
  struct Edit {
    std::size_t original_begin, original_end, result_begin, result_end;
  };

  void step() {
    const char c = text_[position_];
    if (c == '"') return skip_string();
    if (c == '\0') fail("a zero byte");
    if (c == '{' || c == '[') {
      if (++depth_ > kMaxDepth) fail(fmt::format("nested more than {} levels deep", kMaxDepth));
    } else if (c == '}' || c == ']') {
      --depth_;
    } else if (is_word(c)) {
      return word();
    }
    ++position_;
  }

  // To after the closing quote. What is wrong inside is for the parser to say.
  void skip_string() {
    ++position_;
    while (position_ < text_.size() && text_[position_] != '"') {
      position_ += text_[position_] == '\\' ? 2u : 1u;
    }
    position_ = std::min(position_ + 1, text_.size());
  }

  void word() {
    const std::size_t begin = position_;
    while (position_ < text_.size() && is_word(text_[position_])) ++position_;
    const std::string_view token = text_.substr(begin, position_ - begin);
    if (std::find(kNonFinite.begin(), kNonFinite.end(), token) == kNonFinite.end()) return;
    result_.append(text_.substr(copied_, begin - copied_));
    const std::size_t result_begin = result_.size();
    result_ += fmt::format("{{\"__float__\":\"{}\"}}", token);
    edits_.push_back({begin, position_, result_begin, result_.size()});
    copied_ = position_;
  }

  [[noreturn]] void fail(const std::string& what) const {
    raise(ErrorKind::kCorrupt, "'{}': {}: {}", origin_, position_text(text_, position_), what);
  }

  std::string_view text_;
  const std::string& origin_;
  std::string result_;
  std::vector<Edit> edits_;
  std::size_t position_ = 0;
  std::size_t copied_ = 0;  // of text_ into result_
  int depth_ = 0;
};

// {"__float__": "NaN"} and its like; null if the value is something else.
const std::string* wrapped_nonfinite(const nlohmann::json& value) {
  if (!value.is_object() || value.size() != 1) return nullptr;
  const auto found = value.find("__float__");
  if (found == value.end() || !found->is_string()) return nullptr;
  const auto& name = found->get_ref<const std::string&>();
  return std::find(kNonFinite.begin(), kNonFinite.end(), name) == kNonFinite.end() ? nullptr
                                                                                   : &name;
}

bool has_wrapped_nonfinite(const nlohmann::json& value) {
  if (wrapped_nonfinite(value) != nullptr) return true;
  return value.is_structured() && std::any_of(value.begin(), value.end(), has_wrapped_nonfinite);
}

// The library's writer with bare literals in the places that need them.
void append_value(const nlohmann::json& value, std::size_t indent, std::string& out) {
  if (const std::string* name = wrapped_nonfinite(value)) {
    out += *name;
  } else if (!value.is_structured() || !has_wrapped_nonfinite(value)) {
    const std::string text = value.dump(2);
    for (const char c : text) {
      out += c;
      if (c == '\n') out.append(indent, ' ');
    }
  } else {
    const bool object = value.is_object();
    out += object ? '{' : '[';
    bool first = true;
    for (auto item = value.begin(); item != value.end(); ++item) {
      out += first ? "\n" : ",\n";
      out.append(indent + 2, ' ');
      if (object) out += nlohmann::json(item.key()).dump() + ": ";
      append_value(*item, indent + 2, out);
      first = false;
    }
    out += '\n';
    out.append(indent, ' ');
    out += object ? '}' : ']';
  }
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& origin, bool* bare_nonfinite) {
  Rewriter rewriter(text, origin);
  const std::string standard = rewriter.run();
  if (bare_nonfinite != nullptr) *bare_nonfinite = rewriter.replaced();
  try {
    return nlohmann::json::parse(standard);
  } catch (const nlohmann::json::parse_error& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 9: <the useful part>"
    std::string what = error.what();
    if (const std::size_t colon = what.find(": "); colon != std::string::npos) {
      what.erase(0, colon + 2);
    }
    const std::size_t byte = error.byte > 0 ? error.byte - 1 : 0;
    raise(ErrorKind::kCorrupt, "'{}': {}: {}", origin, position_text(text, rewriter.original(byte)),
          printable(what));
  } catch (const nlohmann::json::out_of_range& error) {  // a number like 1e999
    std::string what = error.what();
    if (const std::size_t bracket = what.find("] "); bracket != std::string::npos) {
      what.erase(0, bracket + 2);
    }
    raise(ErrorKind::kCorrupt, "'{}': {}", origin, printable(what));
  }
}

std::string json_text(const nlohmann::json& value, bool bare_nonfinite) {
  try {
    std::string out;
    if (bare_nonfinite) {
      append_value(value, 0, out);
    } else {
      out = value.dump(2);
    }
    return out + "\n";
  } catch (const nlohmann::json::type_error& error) {
    raise(ErrorKind::kInvalidArgument, "cannot write as JSON: {}", printable(error.what()));
  }
}

}  // namespace aquatint
