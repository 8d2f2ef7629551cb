#include "formats/config.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "formats/json_text.h"

namespace aquatint {
namespace {

constexpr double kTwoTo63 = 9223372036854775808.0;

// What a value is, for messages: its text if that is short, else its type.
std::string describe(const nlohmann::json& value) {
  if (value.is_null()) return "null";
  if (value.is_string()) {
    return "the string '" + printable(value.get_ref<const std::string&>(), 60) + "'";
  }
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  if (value.is_object()) return fmt::format("an object of {} keys", value.size());
  return value.dump();
}

std::optional<std::int64_t> as_int(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > std::uint64_t{INT64_MAX}) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  if (std::trunc(number) != number || number < -kTwoTo63 || number >= kTwoTo63) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(number);
}

std::optional<double> as_double(const nlohmann::json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_object() || value.size() != 1) return std::nullopt;
  const auto wrapped = value.find("__float__");
  if (wrapped == value.end() || !wrapped->is_string()) return std::nullopt;
  const auto& name = wrapped->get_ref<const std::string&>();
  if (name == "Infinity") return HUGE_VAL;
  if (name == "-Infinity") return -HUGE_VAL;
  if (name == "NaN") return std::nan("");
  return std::nullopt;
}

}  // namespace

Config::Config(std::shared_ptr<const nlohmann::json> json, std::string origin, std::string prefix,
               bool bare_nonfinite)
    : json_(std::move(json)),
      origin_(std::move(origin)),
      prefix_(std::move(prefix)),
      bare_nonfinite_(bare_nonfinite) {}

Config Config::read(const std::filesystem::path& path) {
  return parse(read_text_file(path, kMaxBytes), path.string());
}

Config Config::parse(std::string_view text, const std::string& origin) {
  bool bare = false;
  auto json = std::make_shared<const nlohmann::json>(parse_json(text, origin, &bare));
  if (!json->is_object()) {
    raise(ErrorKind::kCorrupt, "'{}': expected a JSON object, found {}", origin, describe(*json));
  }
  return Config(std::move(json), origin, "", bare);
}

void Config::raise_type(std::string_view key, const char* expected,
                        const nlohmann::json& found) const {
  raise(ErrorKind::kCorrupt, "'{}': key '{}' must be {}, but is {}", origin_,
        printable(prefix_ + std::string(key)), expected, describe(found));
}

void Config::raise_unsupported(std::string_view key, std::string_view reason) const {
  const auto found = json_->find(key);
  raise(ErrorKind::kUnsupported, "'{}': key '{}' is {}: {}", origin_,
        printable(prefix_ + std::string(key)), found == json_->end() ? "missing" : describe(*found),
        reason);
}

const nlohmann::json* Config::find(std::string_view key) const {
  const auto found = json_->find(key);
  return found == json_->end() || found->is_null() ? nullptr : &*found;
}

const nlohmann::json& Config::require(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    raise(ErrorKind::kCorrupt, "'{}': key '{}' is missing", origin_,
          printable(prefix_ + std::string(key)));
  }
  return *value;
}

bool Config::has(std::string_view key) const {
  return find(key) != nullptr;
}

bool Config::is_string(std::string_view key) const {
  const nlohmann::json* value = find(key);
  return value != nullptr && value->is_string();
}

std::vector<std::string> Config::keys() const {
  std::vector<std::string> keys;
  keys.reserve(json_->size());
  for (const auto& [key, value] : json_->items()) keys.push_back(key);
  return keys;
}

std::int64_t Config::get_int(std::string_view key) const {
  const nlohmann::json& value = require(key);
  const std::optional<std::int64_t> number = as_int(value);
  if (!number) raise_type(key, "an integer", value);
  return *number;
}

double Config::get_double(std::string_view key) const {
  const nlohmann::json& value = require(key);
  const std::optional<double> number = as_double(value);
  if (!number) raise_type(key, "a number", value);
  return *number;
}

bool Config::get_bool(std::string_view key) const {
  const nlohmann::json& value = require(key);
  if (!value.is_boolean()) raise_type(key, "true or false", value);
  return value.get<bool>();
}

std::string Config::get_string(std::string_view key) const {
  const nlohmann::json& value = require(key);
  if (!value.is_string()) raise_type(key, "a string", value);
  return value.get<std::string>();
}

std::int64_t Config::get_int(std::string_view key, std::int64_t fallback) const {
  return has(key) ? get_int(key) : fallback;
}

double Config::get_double(std::string_view key, double fallback) const {
  return has(key) ? get_double(key) : fallback;
}

bool Config::get_bool(std::string_view key, bool fallback) const {
  return has(key) ? get_bool(key) : fallback;
}

std::string Config::get_string(std::string_view key, const std::string& fallback) const {
  return has(key) ? get_string(key) : fallback;
}

std::optional<std::int64_t> Config::find_int(std::string_view key) const {
  return has(key) ? std::optional(get_int(key)) : std::nullopt;
}

std::optional<double> Config::find_double(std::string_view key) const {
  return has(key) ? std::optional(get_double(key)) : std::nullopt;
}

std::vector<std::int64_t> Config::get_ints(std::string_view key) const {
  const nlohmann::json* value = find(key);
  std::vector<std::int64_t> numbers;
  if (value == nullptr) return numbers;
  if (!value->is_array()) return {get_int(key)};
  numbers.reserve(value->size());
  for (const nlohmann::json& item : *value) {
    const std::optional<std::int64_t> number = as_int(item);
    if (!number) raise_type(key, "an integer or a list of integers", item);
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<double> Config::get_doubles(std::string_view key) const {
  const nlohmann::json* value = find(key);
  std::vector<double> numbers;
  if (value == nullptr) return numbers;
  if (!value->is_array()) return {get_double(key)};
  numbers.reserve(value->size());
  for (const nlohmann::json& item : *value) {
    const std::optional<double> number = as_double(item);
    if (!number) raise_type(key, "a number or a list of numbers", item);
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<std::string> Config::get_strings(std::string_view key) const {
  const nlohmann::json* value = find(key);
  std::vector<std::string> strings;
  if (value == nullptr) return strings;
  if (!value->is_array()) return {get_string(key)};
  strings.reserve(value->size());
  for (const nlohmann::json& item : *value) {
    if (!item.is_string()) raise_type(key, "a string or a list of strings", item);
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

Config Config::child(std::string_view key) const {
  const nlohmann::json& value = require(key);
  if (!value.is_object()) raise_type(key, "an object", value);
  return Config(std::shared_ptr<const nlohmann::json>(json_, &value), origin_,
                prefix_ + std::string(key) + ".", bare_nonfinite_);
}

std::vector<Config> Config::children(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) return {child(key)};
  std::vector<Config> children;
  children.reserve(value->size());
  for (std::size_t i = 0; i < value->size(); ++i) {
    const nlohmann::json& item = (*value)[i];
    if (!item.is_object()) raise_type(key, "an object or a list of objects", item);
    children.push_back(Config(std::shared_ptr<const nlohmann::json>(json_, &item), origin_,
                              fmt::format("{}{}[{}].", prefix_, key, i), bare_nonfinite_));
  }
  return children;
}

}  // namespace aquatint
