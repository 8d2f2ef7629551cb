#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "cli/verbs.h"
#include "report/inspect.h"

namespace aquatint::cli {

void add_inspect(CLI::App& program) {
  struct Options {
    std::string model, json;
    bool tensors = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb = program.add_subcommand(
      "inspect", "Show a model's architecture, tensors by role, sizes and quantization");
  verb->add_option("model", options->model, "Model folder")->required();
  verb->add_flag("--tensors", options->tensors, "One line per tensor");
  verb->add_option("--json", options->json, "Write everything as JSON to a file, or - for output");
  verb->footer("Example:\n  aquatint inspect models/gla --tensors");
  verb->callback([options] {
    const Checkpoint checkpoint = Checkpoint::open(options->model);
    if (!options->json.empty()) write_json(options->json, inspect_json(checkpoint));
    if (options->json != "-") print(inspect_text(checkpoint, options->tensors));
  });
}

}  // namespace aquatint::cli
