// Options and helpers that several verbs share.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "hub/settings.h"
#include "models/model.h"
#include "runtime/bench.h"

namespace CLI {
class App;
}

namespace aquatint::cli {

// --device, where the verb `does` its work ("the model runs").
void add_device(CLI::App& verb, std::string& device, const std::string& does);

// --offline: models named ORG/NAME are looked for in the cache only.
void add_offline(CLI::App& verb);
// Where Hub downloads come from and go to: the environment, and --offline.
hub::Settings hub_settings();
// The folder of a model as the user named it: a path, or ORG/NAME, which is looked for in the cache
// and else downloaded. Errors of hub::find_download.
std::filesystem::path model_folder(const std::string& model);

// How and where models run: --device, --device-memory, --dtype, --kv-cache and --simulate.
struct ModelOptions {
  std::string dtype = "auto", device = "cpu", kv_cache = "f32";
  bool simulate = false;
  std::int64_t device_mib = 0;
  void declare(CLI::App& verb);
  // Error kDevice when the device cannot be used.
  LoadOptions load_options() const;
  // The options as another process of this program takes them.
  std::vector<std::string> arguments() const;
};

// The model that the user named (model_folder), loaded. Errors of Model::load.
Model load_model(const std::string& model, const LoadOptions& options);

// What is timed: --prompt-tokens, --generated-tokens and --repeats.
struct SpeedOptions {
  BenchOptions bench;
  std::int64_t repeats = bench.repeats;
  void declare(CLI::App& verb);
  BenchOptions resolve() const;
};

// Error kIo unless a file can be made at `path` (empty and "-": always). To be called before long
// work, not after it.
void check_output(const std::string& path);

// Error of `kind` naming `what` and the first byte of the text that is not UTF-8.
void check_utf8(std::string_view text, const std::string& what, ErrorKind kind);

// Writes JSON to a file, or to standard output for "-".
void write_json(const std::string& path, const nlohmann::json& value);

// Prints to standard output; error kIo when that fails (a closed pipe, a full disk).
void print(const std::string& text);

// Exit codes of the program (documented in docs/guide/cli.md).
int exit_code(ErrorKind kind);

}  // namespace aquatint::cli
