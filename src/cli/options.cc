#include "cli/options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/threads.h"
#include "cli/common.h"
#include "quantize/builtin_recipes.h"

namespace aquatint::cli {
namespace {

// "--max-tokens" of "-n,--max-tokens"; a positional's name as it is.
std::string long_name(const std::string& flags) {
  const std::size_t at = flags.find("--");
  return at == std::string::npos ? flags : flags.substr(at);
}

template <typename T>
bool parse_whole(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end;
}

[[noreturn]] void refuse(const std::string& flags, const std::string& text,
                         const std::string& expected) {
  raise(ErrorKind::kInvalidArgument, "{} is '{}', expected {}", long_name(flags), text, expected);
}

}  // namespace

CLI::Option* add_model(CLI::App& verb, std::string& folder) {
  add_offline(verb);
  return verb
      .add_option(
          "model", folder,
          "Model: a folder with config.json, weights and tokenizer.json, a GGUF file, or the "
          "ORG/NAME[@REVISION] of a download")
      ->required()
      ->type_name("");
}

CLI::Option* add_text(CLI::App& verb, const std::string& flags, std::string& value,
                      const std::string& value_name, const std::string& description) {
  return verb.add_option(flags, value, description)->type_name(value_name);
}

CLI::Option* add_count(CLI::App& verb, const std::string& flags, std::int64_t& value,
                       std::int64_t lowest, std::int64_t highest, const std::string& description) {
  const auto read = [=, &value](const std::string& text) {
    if (parse_whole(text, value) && value >= lowest && value <= highest) return;
    refuse(flags, text, fmt::format("a whole number from {} to {}", lowest, highest));
  };
  return verb.add_option_function<std::string>(flags, read, description)
      ->type_name("N")
      ->default_str(std::to_string(value));
}

void add_recipe(CLI::App& verb, std::string& value) {
  CLI::Option* recipe =
      add_text(verb, "--recipe", value, "RECIPE", "Built-in recipe, or a YAML file")->required();
  std::vector<std::string> names;
  for (const BuiltinRecipe& builtin : builtin_recipes()) names.emplace_back(builtin.name);
  offer(recipe, names);
}

CLI::Option* add_seed(CLI::App& verb, const std::string& flags, std::uint64_t& value,
                      const std::string& description) {
  const auto read = [=, &value](const std::string& text) {
    if (parse_whole(text, value)) return;
    refuse(flags, text, "a whole number from 0 to 18446744073709551615");
  };
  return verb.add_option_function<std::string>(flags, read, description)->type_name("N");
}

CLI::Option* add_number(CLI::App& verb, const std::string& flags, float& value,
                        const NumberRange& range, const std::string& description) {
  const auto read = [=, &value](const std::string& text) {
    double number = std::numeric_limits<double>::quiet_NaN();
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, number);
    const bool above = range.without_lowest ? number > range.lowest : number >= range.lowest;
    const bool below = range.without_highest ? number < range.highest : number <= range.highest;
    if (result.ec != std::errc() || result.ptr != end || !above || !below) {
      refuse(flags, text, fmt::format("a number {}", range.words));
    }
    value = static_cast<float>(number);
  };
  return verb.add_option_function<std::string>(flags, read, description)
      ->type_name("X")
      ->default_str(fmt::format("{}", value));
}

CLI::Option* add_choice(CLI::App& verb, const std::string& flags, std::string& value,
                        const std::vector<std::string>& choices, const std::string& description) {
  std::string list;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    list += (i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ") + choices[i];
  }
  const auto read = [=, &value](const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) refuse(flags, text, list);
    value = text;
  };
  CLI::Option* option =
      verb.add_option_function<std::string>(flags, read, description + ": " + list)
          ->type_name("NAME");
  offer(option, choices);
  return value.empty() ? option : option->default_str(value);
}

// CLI11 appends what validators say of themselves to the name of the value; one that lets
// everything pass carries the words.
void offer(CLI::Option* option, const std::vector<std::string>& words) {
  const auto pass = [](std::string&) { return std::string(); };
  option->check(CLI::Validator(pass, fmt::format("{}", fmt::join(words, " ")), "words"));
}

std::string value_name(const CLI::Option& option) {
  const std::string name = option.get_type_name();
  return name.substr(0, name.find(':'));
}

std::string offered_words(const CLI::Option& option) {
  const std::string name = option.get_type_name();
  const std::size_t colon = name.find(':');
  return colon == std::string::npos ? "" : name.substr(colon + 1);
}

CLI::Option* add_tokens(CLI::App& verb, const std::string& flags, std::vector<std::int32_t>& ids,
                        const std::string& description) {
  const auto read = [=, &ids](const std::string& text) {
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      std::int32_t id = 0;
      if (!parse_whole(text.substr(begin, end - begin), id) || id < 0) {
        refuse(flags, text, "token ids like 1,2,3");
      }
      ids.push_back(id);
      begin = end + 1;
    }
  };
  return verb.add_option_function<std::string>(flags, read, description)->type_name("IDS");
}

CLI::Option* add_words(CLI::App& verb, const std::string& flags, std::vector<std::string>& words,
                       const std::string& value_name, const std::string& description) {
  return verb.add_option(flags, words, description)->delimiter(',')->type_name(value_name);
}

CLI::Option* add_repeated(CLI::App& verb, const std::string& flags,
                          std::vector<std::string>& values, const std::string& value_name,
                          const std::string& description) {
  return verb.add_option(flags, values, description + "; may be repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name(value_name);
}

CLI::Option* add_json(CLI::App& verb, std::string& path) {
  return add_text(verb, "--json", path, "FILE",
                  "Write the result as JSON to FILE, or to standard output for -");
}

void add_shard_size(CLI::App& verb, std::int64_t& mib) {
  constexpr std::int64_t kLargestMib = std::int64_t{1} << 30;
  add_count(verb, "--max-shard-size", mib, 1, kLargestMib, "Largest output file, in MiB");
}

void add_threads(CLI::App& verb) {
  const auto read = [](const std::string& text) {
    constexpr int kMost = 1024;
    int threads = 0;
    if (!parse_whole(text, threads) || threads < 1 || threads > kMost) {
      refuse("--threads", text, fmt::format("a whole number from 1 to {}", kMost));
    }
    set_num_threads(threads);
  };
  verb.add_option_function<std::string>("--threads", read, "Threads to compute with")
      ->type_name("N")
      ->default_str("all cores");
}

}  // namespace aquatint::cli
