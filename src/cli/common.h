// Options and helpers that several verbs share.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/model.h"

namespace CLI {
class App;
}

namespace aquatint::cli {

// How models are loaded: --dtype and --simulate.
struct ModelOptions {
  std::string dtype = "float32";
  bool simulate = false;
  void declare(CLI::App& verb);
  LoadOptions load_options() const;
};

// --threads, declared on every verb that computes.
void declare_threads(CLI::App& verb);

// Writes JSON to a file, or to standard output for "-".
void write_json(const std::string& path, const nlohmann::json& value);

// Prints to standard output; error kIo when that fails (a closed pipe, a full disk).
void print(const std::string& text);

// Exit codes of the program (documented in docs/guide/cli.md).
int exit_code(ErrorKind kind);

}  // namespace aquatint::cli
