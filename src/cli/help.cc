#include "cli/help.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/options.h"
#include "quantize/recipe.h"

namespace aquatint::cli {
namespace {

constexpr std::size_t kNameColumn = 27;  // of option names and their values

std::size_t line_width() {
  constexpr std::size_t kDefault = 100, kNarrowest = 60, kWidest = 100;
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 0 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 ||
      size.ws_col == 0) {
    return kDefault;
  }
  return std::clamp<std::size_t>(size.ws_col, kNarrowest, kWidest);
}

// The text in lines of at most `width` characters, all but the first behind `indent` spaces.
std::string wrapped(const std::string& text, std::size_t indent, std::size_t width) {
  std::string result;
  std::size_t column = indent;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (column > indent && column + 1 + word.size() > width) {
      result += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      result += ' ';
      ++column;
    }
    result += word;
    column += word.size();
    begin = end + 1;
  }
  return result + "\n";
}

// "  names   description", the description on a line of its own below names that are too long.
std::string entry(const std::string& names, const std::string& description, std::size_t width) {
  std::string line = "  " + names;
  if (line.size() + 2 > kNameColumn) {
    line += "\n" + std::string(kNameColumn, ' ');
  } else {
    line.append(kNameColumn - line.size(), ' ');
  }
  return line + wrapped(description, kNameColumn, width);
}

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

std::string option_names(const CLI::Option& option) {
  std::string names;
  for (const std::string& name : option.get_snames()) names += (names.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames()) {
    names += (names.empty() ? "--" : ", --") + name;
  }
  return takes_value(option) ? names + " " + value_name(option) : names;
}

std::string uppercase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

// "MODEL", "[SHELL]", "MODELS...".
std::string positional_name(const CLI::Option& option) {
  std::string name = uppercase(option.get_name(true));
  if (option.get_items_expected_max() > 1) name += "...";
  return option.get_required() ? name : "[" + name + "]";
}

std::string description_of(const CLI::Option& option) {
  std::string text = option.get_description();
  if (option.get_required() && !option.get_positional()) text += " (required)";
  if (!option.get_default_str().empty()) text += " [" + option.get_default_str() + "]";
  return text;
}

std::vector<const CLI::App*> verbs_of(const CLI::App& program) {
  return program.get_subcommands([](const CLI::App*) { return true; });
}

class HelpFormatter : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string /*name*/,
                        CLI::AppFormatMode /*mode*/) const override {
    const std::size_t width = line_width();
    const CLI::App* program = app->get_parent();
    std::string positionals, usage, options, help;
    const CLI::Option* help_option = app->get_help_ptr();
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_positional()) {
        usage += " " + positional_name(*option);
        positionals += entry(positional_name(*option), description_of(*option), width);
      } else if (option == help_option) {
        help = entry(option_names(*option), "Show this help", width);
      } else {
        options += entry(option_names(*option), description_of(*option), width);
      }
    }
    for (const CLI::Option* option :
         program != nullptr ? program->get_options() : std::vector<const CLI::Option*>{}) {
      const bool everywhere = option->check_name("--quiet");
      if (everywhere) options += entry(option_names(*option), description_of(*option), width);
    }
    std::string text = wrapped(app->get_description() + ".", 0, width) + "\n";
    if (program == nullptr) {
      text += "Usage: aquatint VERB [OPTIONS]\n       aquatint VERB --help\n\nVerbs:\n";
      for (const CLI::App* verb : verbs_of(*app)) {
        text += entry(verb->get_name(), verb->get_description(), width);
      }
    } else {
      text += "Usage: aquatint " + app->get_name() + usage + " [OPTIONS]\n";
    }
    if (!positionals.empty()) text += "\n" + positionals;
    return text + "\nOptions, with their defaults in brackets:\n" + options + help + "\n" +
           app->get_footer() + "\n";
  }
};

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string near = nearest_word(word, candidates);
  return near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
}

const CLI::App* chosen_verb(const CLI::App& program) {
  const auto chosen = program.get_subcommands();
  return chosen.empty() ? nullptr : chosen.front();
}

std::string explain_leftover(const std::string& word, const CLI::App* verb,
                             const CLI::App& program) {
  if (verb == nullptr && word[0] != '-') {
    std::vector<std::string> names;
    for (const CLI::App* each : verbs_of(program)) names.push_back(each->get_name());
    return fmt::format("there is no verb '{}'{}", word, suggestion(word, names));
  }
  if (word[0] != '-') return fmt::format("unexpected argument '{}'", word);
  std::vector<std::string> names;
  for (const CLI::Option* option : (verb != nullptr ? *verb : program).get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  const std::string name = word.substr(0, word.find('='));
  return fmt::format("there is no option '{}'{}", name, suggestion(name, names));
}

}  // namespace

std::shared_ptr<CLI::FormatterBase> make_help_formatter() {
  return std::make_shared<HelpFormatter>();
}

std::string explain(const CLI::ParseError& error, const CLI::App& program) {
  const CLI::App* verb = chosen_verb(program);
  const std::string see =
      verb == nullptr ? "aquatint --help" : "aquatint " + verb->get_name() + " --help";
  std::string what = error.what();
  // What nobody understood says more than what is missing because of it.
  std::vector<std::string> left = program.remaining(true);
  const auto option = std::find_if(left.begin(), left.end(),
                                   [](const std::string& word) { return word.starts_with("-"); });
  if (option != left.end()) {
    what = explain_leftover(*option, verb, program);
  } else if (!left.empty()) {
    what = explain_leftover(left.front(), verb, program);
  } else if (verb == nullptr) {
    what = "a verb is needed";
  } else if (what.ends_with(" is required")) {
    what =
        what.starts_with("--") ? what : uppercase(what.substr(0, what.find(' '))) + " is required";
  }
  return fmt::format("{} (see {})", what, see);
}

}  // namespace aquatint::cli
