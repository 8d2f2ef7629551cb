#include <CLI/CLI.hpp>
#include <memory>

#include "cli/common.h"
#include "cli/verbs.h"

namespace aquatint::cli {
namespace {

// Long options of a verb, separated by spaces.
std::string option_words(const CLI::App& verb) {
  std::string words;
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) words += "--" + name + " ";
  }
  return words;
}

std::string bash_script(const CLI::App& program) {
  std::string verbs, cases;
  for (const CLI::App* verb : program.get_subcommands([](const CLI::App*) { return true; })) {
    verbs += verb->get_name() + " ";
    cases += fmt::format("    {}) words=\"{}\" ;;\n", verb->get_name(), option_words(*verb));
  }
  return fmt::format(R"(_aquatint() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{}{}"
  else
    case "${{COMP_WORDS[1]}}" in
{}    esac
  fi
  case "$word" in
    -*) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word") ;;
    *)
      if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
      else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
      fi ;;
  esac
}}
complete -o filenames -F _aquatint aquatint
)",
                     verbs, option_words(program), cases);
}

}  // namespace

void add_completion(CLI::App& program) {
  CLI::App* verb =
      program.add_subcommand("completion", "Print a completion script for bash (or zsh)");
  auto shell = std::make_shared<std::string>("bash");
  verb->add_option("shell", *shell, "bash or zsh")
      ->check(CLI::IsMember({"bash", "zsh"}))
      ->capture_default_str();
  verb->footer("Example:\n  source <(aquatint completion bash)");
  verb->callback([shell, &program] {
    // zsh runs bash completions through its compatibility layer.
    if (*shell == "zsh") print("autoload -U +X bashcompinit && bashcompinit\n");
    print(bash_script(program));
  });
}

}  // namespace aquatint::cli
