// How the program explains itself: one layout for --help of the program and of every verb, wrapped
// to the terminal, and corrections for misspelt verbs and options.
#pragma once

#include <memory>
#include <string>

namespace CLI {
class App;
class FormatterBase;
class ParseError;
}  // namespace CLI

namespace aquatint::cli {

std::shared_ptr<CLI::FormatterBase> make_help_formatter();

// What is wrong with a command line that could not be parsed, in our words.
std::string explain(const CLI::ParseError& error, const CLI::App& program);

}  // namespace aquatint::cli
