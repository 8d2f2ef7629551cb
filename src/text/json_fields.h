// Typed access to tokenizer.json with one clear error for whatever is missing or of the wrong type.
// `where` is the path shown to the user, e.g. "tokenizer.json: model".
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace aquatint::text {

// Parses a document whose nesting is at most 100 deep. Error kCorrupt.
nlohmann::json parse_json(std::string_view document, const std::string& where);

// The member, or null when absent; `object` must be an object.
const nlohmann::json& field(const nlohmann::json& object, const char* key,
                            const std::string& where);
// Members that must be there.
const nlohmann::json& object_field(const nlohmann::json& object, const char* key,
                                   const std::string& where);
const nlohmann::json& array_field(const nlohmann::json& object, const char* key,
                                  const std::string& where);
std::string string_field(const nlohmann::json& object, const char* key, const std::string& where);
std::int64_t count_field(const nlohmann::json& object, const char* key, const std::string& where);
// Members that may be absent or null.
bool bool_field(const nlohmann::json& object, const char* key, bool otherwise,
                const std::string& where);
std::optional<std::string> optional_string(const nlohmann::json& object, const char* key,
                                           const std::string& where);

// A token id: an integer from 0 to 2^31 - 1.
std::int32_t token_id(const nlohmann::json& value, const std::string& where);
// A string of one character.
char32_t char_field(const nlohmann::json& object, const char* key, const std::string& where);

}  // namespace aquatint::text
