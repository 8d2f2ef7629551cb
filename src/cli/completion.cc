#include <CLI/CLI.hpp>
#include <memory>

#include "cli/common.h"
#include "cli/options.h"
#include "cli/verbs.h"

namespace aquatint::cli {
namespace {

std::vector<std::string> long_names(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

// Long options of the program or a verb, separated by spaces.
std::string option_words(const CLI::App& app) {
  std::string words;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : long_names(*option)) words += name + " ";
  }
  return words;
}

// Cases "verb:--option) what the option takes ;;" for options with a fixed set of values; the word
// before a verb's first argument is the verb.
std::string value_cases(const CLI::App& verb) {
  std::string cases;
  for (const CLI::Option* option : verb.get_options()) {
    const std::string words = offered_words(*option);
    if (words.empty()) continue;
    if (option->get_positional()) {
      cases += fmt::format("    {0}:{0}) values=\"{1}\" ;;\n", verb.get_name(), words);
    }
    for (const std::string& name : long_names(*option)) {
      cases += fmt::format("    {}:{}) values=\"{}\" ;;\n", verb.get_name(), name, words);
    }
  }
  return cases;
}

// The verb is the first word without a dash; after an option with known values come those, else
// files.
constexpr const char* kScript = R"(_aquatint() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
  local verb="" options="" values="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ "${{COMP_WORDS[i]}}" != -* ]]; then verb="${{COMP_WORDS[i]}}"; break; fi
  done
  case "$verb" in
    "") options="{0}" ;;
{1}  esac
  case "$verb:$before" in
{2}  esac
  if [[ -n "$values" && "$word" != -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
    if [[ "$before" == --recipe ]]; then
      mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -f -- "$word")
    fi
  elif [[ "$word" == -* || -z "$verb" ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  fi
}}
complete -o filenames -F _aquatint aquatint
)";

std::string bash_script(const CLI::App& program) {
  const std::string quiet = "--quiet";
  std::string verbs, options, values;
  for (const CLI::App* verb : program.get_subcommands([](const CLI::App*) { return true; })) {
    verbs += verb->get_name() + " ";
    options +=
        fmt::format("    {}) options=\"{}{}\" ;;\n", verb->get_name(), option_words(*verb), quiet);
    values += value_cases(*verb);
  }
  return fmt::format(kScript, verbs + option_words(program), options, values);
}

}  // namespace

void add_completion(CLI::App& program) {
  CLI::App* verb =
      program.add_subcommand("completion", "Print a completion script for bash (or zsh)");
  auto shell = std::make_shared<std::string>("bash");
  add_choice(*verb, "shell", *shell, {"bash", "zsh"}, "Shell");
  verb->footer("Example:\n  source <(aquatint completion bash)");
  verb->callback([shell, &program] {
    // zsh runs bash completions through its compatibility layer.
    if (*shell == "zsh") print("autoload -U +X bashcompinit && bashcompinit\n");
    print(bash_script(program));
  });
}

}  // namespace aquatint::cli
