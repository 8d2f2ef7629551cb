// A JSON object read from config.json (or any JSON file): typed access by key with errors that name
// the file and the key. Accepts the non-standard literals NaN, Infinity and -Infinity that Python
// writes, and
// {"__float__": "Infinity"} which newer transformers write instead.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aquatint {

class Config {
 public:
  // The size beyond which a file is refused.
  static constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
  // Error kNotFound, kIo or kCorrupt ("'config.json': line 3, column 7: …").
  static Config read(const std::filesystem::path& path);
  // `origin` is what error messages call the text. Nesting is limited to 64 levels.
  static Config parse(std::string_view text, const std::string& origin);

  // Present and not null.
  bool has(std::string_view key) const;
  std::vector<std::string> keys() const;
  // Whether the value is a string, as some sizes may be ("auto").
  bool is_string(std::string_view key) const;

  // Required values; error kCorrupt names file, key and what was found. Integers written as floats
  // ("1.0") are accepted as integers and the other way round.
  std::int64_t get_int(std::string_view key) const;
  double get_double(std::string_view key) const;
  bool get_bool(std::string_view key) const;
  std::string get_string(std::string_view key) const;
  // The same with a default for an absent or null key; a wrong type is still an error.
  std::int64_t get_int(std::string_view key, std::int64_t fallback) const;
  double get_double(std::string_view key, double fallback) const;
  bool get_bool(std::string_view key, bool fallback) const;
  std::string get_string(std::string_view key, const std::string& fallback) const;
  std::optional<std::int64_t> find_int(std::string_view key) const;
  std::optional<double> find_double(std::string_view key) const;
  // One value or a list of them, as eos_token_id may be; empty when absent or null.
  std::vector<std::int64_t> get_ints(std::string_view key) const;
  std::vector<double> get_doubles(std::string_view key) const;
  std::vector<std::string> get_strings(std::string_view key) const;
  // A nested object; error kCorrupt when it is not one.
  Config child(std::string_view key) const;
  // A list of objects, or a single object as a list of one; empty when absent or null.
  std::vector<Config> children(std::string_view key) const;

  // Throws kUnsupported: "'config.json': key 'a.b' is <its value>: <reason>".
  [[noreturn]] void raise_unsupported(std::string_view key, std::string_view reason) const;

  const std::string& origin() const { return origin_; }
  // For writers and for schemas that need the whole value.
  const nlohmann::json& json() const { return *json_; }
  // Whether the file spelled non-finite numbers as bare literals; a copy of it should do the same
  // (json_text in formats/json_text.h).
  bool bare_nonfinite() const { return bare_nonfinite_; }

 private:
  Config(std::shared_ptr<const nlohmann::json> json, std::string origin, std::string prefix,
         bool bare_nonfinite);
  const nlohmann::json* find(std::string_view key) const;  // null when absent or null
  const nlohmann::json& require(std::string_view key) const;
  [[noreturn]] void raise_type(std::string_view key, const char* expected,
                               const nlohmann::json& found) const;
  std::shared_ptr<const nlohmann::json> json_;
  std::string origin_;
  std::string prefix_;  // of keys in messages: "ssm_cfg."
  bool bare_nonfinite_ = false;
};

}  // namespace aquatint
