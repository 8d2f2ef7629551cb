// Options that several verbs share, so that the same thing has the same name, the same wording and
// the same checks everywhere. Values are read strictly: "12x", a number out of range or one too
// large for its type is an error that names the option and what it takes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace aquatint::cli {

// The largest count of tokens, sequences or documents an option takes.
inline constexpr std::int64_t kLargestCount = 2'147'483'647;

// The positional MODEL, and --offline.
CLI::Option* add_model(CLI::App& verb, std::string& folder);

// A file, a folder or a text; `value_name` is what help calls the value ("FILE").
CLI::Option* add_text(CLI::App& verb, const std::string& flags, std::string& value,
                      const std::string& value_name, const std::string& description);

// A whole number from `lowest` to `highest`.
CLI::Option* add_count(CLI::App& verb, const std::string& flags, std::int64_t& value,
                       std::int64_t lowest, std::int64_t highest, const std::string& description);
CLI::Option* add_seed(CLI::App& verb, const std::string& flags, std::uint64_t& value,
                      const std::string& description);

// Which numbers an option takes, and the words that say so ("above 0, at most 1").
struct NumberRange {
  double lowest, highest;
  bool without_lowest = false, without_highest = false;  // the limits themselves are refused
  const char* words = "";
};
CLI::Option* add_number(CLI::App& verb, const std::string& flags, float& value,
                        const NumberRange& range, const std::string& description);

// One of `choices`; the description is followed by them.
CLI::Option* add_choice(CLI::App& verb, const std::string& flags, std::string& value,
                        const std::vector<std::string>& choices, const std::string& description);

// --recipe, required; completion offers the built-in ones.
void add_recipe(CLI::App& verb, std::string& value);

// Words that completion offers as values of an option, separated by blanks when they are read
// again.
void offer(CLI::Option* option, const std::vector<std::string>& words);
std::string offered_words(const CLI::Option& option);
// What help calls the value ("FILE").
std::string value_name(const CLI::Option& option);

// Token ids separated by commas.
CLI::Option* add_tokens(CLI::App& verb, const std::string& flags, std::vector<std::int32_t>& ids,
                        const std::string& description);

// Words separated by commas, or one word each time the option is given.
CLI::Option* add_words(CLI::App& verb, const std::string& flags, std::vector<std::string>& words,
                       const std::string& value_name, const std::string& description);
CLI::Option* add_repeated(CLI::App& verb, const std::string& flags,
                          std::vector<std::string>& values, const std::string& value_name,
                          const std::string& description);

// --json FILE, where - is standard output.
CLI::Option* add_json(CLI::App& verb, std::string& path);

// --max-shard-size, on every verb that writes a model.
inline constexpr std::int64_t kDefaultShardMib = 5120;
void add_shard_size(CLI::App& verb, std::int64_t& mib);

// --threads, on every verb that computes.
void add_threads(CLI::App& verb);

}  // namespace aquatint::cli
