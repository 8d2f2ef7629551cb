#include "report/inspect.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "cli/options.h"
#include "cli/verbs.h"

namespace aquatint::cli {

void add_inspect(CLI::App& program) {
  struct Options {
    std::string model, json;
    bool tensors = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb = program.add_subcommand(
      "inspect", "Show a model's architecture, tensors by role, sizes and quantization");
  add_model(*verb, options->model);
  verb->add_flag("--tensors", options->tensors, "List every tensor too");
  add_json(*verb, options->json);
  verb->footer("Example:\n  aquatint inspect models/gla --tensors");
  verb->callback([options] {
    check_output(options->json);
    const Checkpoint checkpoint = Checkpoint::open(model_folder(options->model));
    if (!options->json.empty()) write_json(options->json, inspect_json(checkpoint));
    if (options->json != "-") print(inspect_text(checkpoint, options->tensors));
  });
}

}  // namespace aquatint::cli
