#include "text/added_tokens.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "text/json_fields.h"
#include "text/unicode.h"

namespace aquatint::text {
namespace {

using nlohmann::json;

AddedToken parse_token(const json& spec, const std::string& where) {
  AddedToken token;
  token.content = string_field(spec, "content", where);
  token.id = token_id(field(spec, "id", where), where + " '" + token.content + "': id");
  token.single_word = bool_field(spec, "single_word", false, where);
  token.lstrip = bool_field(spec, "lstrip", false, where);
  token.rstrip = bool_field(spec, "rstrip", false, where);
  token.special = bool_field(spec, "special", false, where);
  token.normalized = bool_field(spec, "normalized", !token.special, where);
  token.pattern = token.content;
  return token;
}

bool touches_word(std::string_view text, std::size_t begin, std::size_t end) {
  const char* data = text.data();
  if (begin > 0 && is_word(decode_utf8_before(data, data + begin).code_point)) return true;
  return end < text.size() && is_word(decode_utf8(data + end).code_point);
}

std::size_t white_space_before(std::string_view text, std::size_t pos) {
  while (pos > 0) {
    const DecodedChar c = decode_utf8_before(text.data(), text.data() + pos);
    if (!is_white_space(c.code_point)) break;
    pos -= c.size;
  }
  return pos;
}

std::size_t white_space_after(std::string_view text, std::size_t pos) {
  while (pos < text.size()) {
    const DecodedChar c = decode_utf8(text.data() + pos);
    if (!is_white_space(c.code_point)) break;
    pos += c.size;
  }
  return pos;
}

}  // namespace

void AddedTokens::Matcher::insert(std::string_view pattern, std::int32_t token) {
  if (pattern.empty()) return;
  empty = false;
  first_bytes[static_cast<unsigned char>(pattern[0])] = true;
  std::uint32_t at = 0;
  for (const char c : pattern) {
    const auto byte = static_cast<unsigned char>(c);
    auto& children = nodes[at].children;
    const auto it = std::find_if(children.begin(), children.end(),
                                 [byte](const auto& child) { return child.first == byte; });
    if (it != children.end()) {
      at = it->second;
      continue;
    }
    const auto created = static_cast<std::uint32_t>(nodes.size());
    children.emplace_back(byte, created);
    nodes.emplace_back();
    at = created;
  }
  if (nodes[at].token < 0) nodes[at].token = token;
}

std::int32_t AddedTokens::Matcher::longest(std::string_view text, std::size_t pos,
                                           std::size_t& end) const {
  std::int32_t best = -1;
  std::uint32_t at = 0;
  for (; pos < text.size(); ++pos) {
    const auto byte = static_cast<unsigned char>(text[pos]);
    const auto& children = nodes[at].children;
    const auto it = std::find_if(children.begin(), children.end(),
                                 [byte](const auto& child) { return child.first == byte; });
    if (it == children.end()) break;
    at = it->second;
    if (nodes[at].token >= 0) {
      best = nodes[at].token;
      end = pos + 1;
    }
  }
  return best;
}

AddedTokens::AddedTokens(const json& list, const Vocabulary& vocabulary,
                         const Normalizer& normalizer, const std::string& where) {
  if (list.is_null()) return;
  if (!list.is_array()) {
    raise(ErrorKind::kCorrupt, "{} is of type {}, expected an array", where, list.type_name());
  }
  if (vocabulary.size() > 0x7FFFFFFFu) {
    raise(ErrorKind::kUnsupported, "{}: too many tokens", where);
  }
  auto next_id = static_cast<TokenId>(vocabulary.size());
  for (const json& spec : list) {
    AddedToken token = parse_token(spec, where);
    if (token.content.empty()) continue;
    if (token.normalized) {
      AlignedText text = AlignedText::untracked(token.content);
      normalizer.apply(text);
      token.pattern = text.str();
    }
    add(std::move(token), vocabulary, next_id, where);
  }
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    (token.normalized ? normalized_ : input_).insert(token.pattern, static_cast<std::int32_t>(i));
  }
}

void AddedTokens::add(AddedToken token, const Vocabulary& vocabulary, TokenId& next_id,
                      const std::string& where) {
  const TokenId declared = token.id;
  if (const auto known = ids_.find(token.content); known != ids_.end()) {
    token.id = known->second;
  } else if (const auto in_vocabulary = vocabulary.id(token.content)) {
    token.id = *in_vocabulary;
  } else {
    token.id = next_id++;
    const std::string* taken = vocabulary.token(token.id);
    if (taken != nullptr) {
      raise(ErrorKind::kCorrupt, "{}: '{}' gets the id {}, which is that of '{}'", where,
            token.content, token.id, *taken);
    }
  }
  if (token.id != declared) {
    log(LogLevel::kWarning, "{}: '{}' is declared with id {} but its place gives it {}", where,
        token.content, declared, token.id);
  }
  ids_[token.content] = token.id;
  if (token.special) special_.insert(token.content);
  const auto [it, inserted] = by_id_.emplace(token.id, tokens_.size());
  if (inserted) {
    tokens_.push_back(std::move(token));
  } else {
    tokens_[it->second] = std::move(token);  // the same token again: the later flags count
  }
}

std::vector<AddedPiece> AddedTokens::split(std::string_view text, const Matcher& matcher) const {
  if (matcher.empty) return {{0, text.size(), nullptr}};
  std::vector<AddedPiece> pieces;
  std::size_t done = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    if (!matcher.first_bytes[static_cast<unsigned char>(text[pos])]) {
      ++pos;
      continue;
    }
    std::size_t match_end = 0;
    const std::int32_t index = matcher.longest(text, pos, match_end);
    if (index < 0) {
      ++pos;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    std::size_t begin = pos;
    std::size_t end = match_end;
    pos = match_end;  // a match that its flags reject is not tried again in a shorter form
    if (token.single_word && touches_word(text, begin, end)) continue;
    if (token.lstrip) begin = std::max(white_space_before(text, begin), done);
    if (token.rstrip) end = white_space_after(text, end);
    if (done < begin) pieces.push_back({done, begin, nullptr});
    pieces.push_back({begin, end, &token});
    done = end;
  }
  if (done != text.size()) pieces.push_back({done, text.size(), nullptr});
  return pieces;
}

std::vector<AddedPiece> AddedTokens::split_input(std::string_view text) const {
  return split(text, input_);
}

std::vector<AddedPiece> AddedTokens::split_normalized(std::string_view text) const {
  return split(text, normalized_);
}

const AddedToken* AddedTokens::find(TokenId id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

std::optional<TokenId> AddedTokens::id(std::string_view content) const {
  const auto it = ids_.find(std::string(content));
  return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

bool AddedTokens::is_special_content(std::string_view content) const {
  return special_.count(std::string(content)) != 0;
}

TokenId AddedTokens::max_id() const {
  TokenId max = -1;
  for (const AddedToken& token : tokens_) max = std::max(max, token.id);
  return max;
}

}  // namespace aquatint::text
