#include "text/post_processor.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/json_fields.h"
#include "text/unicode.h"

namespace aquatint::text {
namespace {

using nlohmann::json;

// Templates inside sequences multiply; no real one comes near this.
constexpr std::size_t kMaxItems = 4096;

std::vector<TokenId> special_ids(const json& tokens, const std::string& name,
                                 const std::string& where) {
  const json& token = object_field(tokens, name.c_str(), where + ".special_tokens");
  std::vector<TokenId> ids;
  for (const json& id : array_field(token, "ids", where + ".special_tokens." + name)) {
    ids.push_back(token_id(id, where + ".special_tokens." + name));
  }
  return ids;
}

bool is_blank(char32_t code_point) {
  return code_point == byte_to_symbol(' ') || is_white_space(code_point);
}

}  // namespace

void PostProcessor::parse_template(const json& spec, const std::string& where) {
  std::vector<Item> items;
  for (const json& piece : array_field(spec, "single", where)) {
    const json& special = field(piece, "SpecialToken", where + ".single");
    if (special.is_null()) {
      const json& sequence = object_field(piece, "Sequence", where + ".single");
      const std::string id = string_field(sequence, "id", where + ".single");
      if (id != "A") {
        raise(ErrorKind::kCorrupt, "{}.single: sequence '{}' in a template of one text", where, id);
      }
      items.insert(items.end(), items_.begin(), items_.end());
    } else {
      const std::string id = string_field(special, "id", where + ".single");
      for (const TokenId token : special_ids(field(spec, "special_tokens", where), id, where)) {
        items.emplace_back(token);
      }
    }
    if (items.size() > kMaxItems) {
      raise(ErrorKind::kUnsupported, "{}: template of more than {} tokens", where, kMaxItems);
    }
  }
  items_ = std::move(items);
}

void PostProcessor::parse_into(const json& spec, const std::string& where) {
  if (spec.is_null()) return;
  const std::string type = string_field(spec, "type", where);
  if (type == "Sequence") {
    for (const json& part : array_field(spec, "processors", where)) parse_into(part, where);
  } else if (type == "ByteLevel") {
    if (bool_field(spec, "trim_offsets", true, where)) {
      trims_.push_back(bool_field(spec, "add_prefix_space", true, where));
    }
  } else if (type == "TemplateProcessing") {
    parse_template(spec, where);
  } else {
    raise(ErrorKind::kUnsupported, "{}: post-processor type '{}' is not supported", where, type);
  }
}

PostProcessor PostProcessor::parse(const json& spec, const std::string& where) {
  PostProcessor out;
  out.parse_into(spec, where);
  return out;
}

PostProcessor PostProcessor::around(std::optional<TokenId> before, std::optional<TokenId> after) {
  PostProcessor out;
  if (before) out.items_.insert(out.items_.begin(), *before);
  if (after) out.items_.emplace_back(*after);
  return out;
}

TokenBlanks count_blanks(std::string_view token) {
  TokenBlanks blanks;
  for (std::size_t i = 0; i < token.size();) {
    const DecodedChar c = decode_utf8(token.data() + i);
    if (!is_blank(c.code_point)) break;
    ++blanks.leading;
    i += c.size;
  }
  for (std::size_t end = token.size(); end > 0;) {
    const DecodedChar c = decode_utf8_before(token.data(), token.data() + end);
    if (!is_blank(c.code_point)) break;
    ++blanks.trailing;
    end -= c.size;
  }
  return blanks;
}

void trim_offsets(std::string_view text, TokenBlanks blanks, bool is_first, bool prefix_space,
                  std::pair<std::size_t, std::size_t>& offsets) {
  auto& [begin, end] = offsets;
  if (blanks.leading > 0) {
    const bool added = (is_first || begin == 0) && prefix_space && blanks.leading == 1;
    for (std::uint32_t n = added ? 0 : blanks.leading; n > 0 && begin < end; --n) {
      begin = std::min(begin + utf8_unit_at(text, begin).size, end);
    }
  }
  std::size_t trimmed = end;
  for (std::uint32_t n = blanks.trailing; n > 0; --n) {
    if (trimmed == 0) return;  // more blanks than there is text before: nothing is trimmed
    --trimmed;
    while (trimmed > 0 && (static_cast<unsigned char>(text[trimmed]) & 0xC0) == 0x80) --trimmed;
  }
  end = std::max(trimmed, begin);
}

}  // namespace aquatint::text
