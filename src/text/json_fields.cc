#include "text/json_fields.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/unicode.h"

namespace aquatint::text {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 100;

// Deep nesting is refused before it is parsed: every reader of the document may then recurse.
void check_depth(std::string_view document, const std::string& where) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < document.size(); ++i) {
    const char c = document[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) {
        raise(ErrorKind::kCorrupt, "{}: nested more than {} levels deep", where, kMaxDepth);
      }
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

[[noreturn]] void wrong_type(const json& value, const char* key, const char* expected,
                             const std::string& where) {
  if (value.is_null()) raise(ErrorKind::kCorrupt, "{}: '{}' is missing", where, key);
  raise(ErrorKind::kCorrupt, "{}: '{}' is of type {}, expected {}", where, key, value.type_name(),
        expected);
}

}  // namespace

json parse_json(std::string_view document, const std::string& where) {
  check_depth(document, where);
  try {
    return json::parse(document);
  } catch (const json::exception& e) {
    raise(ErrorKind::kCorrupt, "{}: not valid JSON: {}", where, e.what());
  }
}

const json& field(const json& object, const char* key, const std::string& where) {
  static const json null;
  if (!object.is_object()) {
    raise(ErrorKind::kCorrupt, "{}: is of type {}, expected an object", where, object.type_name());
  }
  const auto it = object.find(key);
  return it == object.end() ? null : *it;
}

const json& object_field(const json& object, const char* key, const std::string& where) {
  const json& value = field(object, key, where);
  if (!value.is_object()) wrong_type(value, key, "an object", where);
  return value;
}

const json& array_field(const json& object, const char* key, const std::string& where) {
  const json& value = field(object, key, where);
  if (!value.is_array()) wrong_type(value, key, "an array", where);
  return value;
}

std::string string_field(const json& object, const char* key, const std::string& where) {
  const json& value = field(object, key, where);
  if (!value.is_string()) wrong_type(value, key, "a string", where);
  return value.get<std::string>();
}

std::int64_t count_field(const json& object, const char* key, const std::string& where) {
  const json& value = field(object, key, where);
  if (!value.is_number_unsigned()) wrong_type(value, key, "a count", where);
  const auto count = value.get<std::uint64_t>();
  constexpr auto kMax = std::numeric_limits<std::int32_t>::max();
  if (count > static_cast<std::uint64_t>(kMax)) {
    raise(ErrorKind::kCorrupt, "{}: '{}' is {}, more than {}", where, key, count, kMax);
  }
  return static_cast<std::int64_t>(count);
}

bool bool_field(const json& object, const char* key, bool otherwise, const std::string& where) {
  const json& value = field(object, key, where);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) wrong_type(value, key, "true or false", where);
  return value.get<bool>();
}

std::optional<std::string> optional_string(const json& object, const char* key,
                                           const std::string& where) {
  const json& value = field(object, key, where);
  if (value.is_null()) return std::nullopt;
  if (!value.is_string()) wrong_type(value, key, "a string", where);
  return value.get<std::string>();
}

std::int32_t token_id(const json& value, const std::string& where) {
  constexpr auto kMax = std::numeric_limits<std::int32_t>::max();
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > std::uint64_t{kMax}) {
    raise(ErrorKind::kCorrupt, "{}: {} is not a token id (an integer from 0 to {})", where,
          value.is_structured() ? value.type_name()
                                : value.dump(-1, ' ', false, json::error_handler_t::replace),
          kMax);
  }
  return static_cast<std::int32_t>(value.get<std::uint64_t>());
}

char32_t char_field(const json& object, const char* key, const std::string& where) {
  const std::string text = string_field(object, key, where);
  if (text.empty() || decode_utf8(text.data()).size != text.size()) {
    raise(ErrorKind::kCorrupt, "{}: '{}' is '{}', expected one character", where, key, text);
  }
  return decode_utf8(text.data()).code_point;
}

}  // namespace aquatint::text
