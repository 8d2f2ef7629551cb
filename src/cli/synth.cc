#include "models/synth.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "cli/options.h"
#include "cli/verbs.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string config, dtype = "bfloat16";
  SynthOptions synth;
  std::string out;
};

void run(Options options) {
  const Config config = Config::read(options.config);
  options.synth.output = options.out;
  options.synth.dtype = options.dtype == "float32"   ? DType::kF32
                        : options.dtype == "float16" ? DType::kF16
                                                     : DType::kBF16;
  synthesize(config, options.synth);
  print(fmt::format("wrote {}\n", options.out));
}

}  // namespace

void add_synth(CLI::App& program) {
  auto options = std::make_shared<Options>();
  std::vector<std::string> names;
  for (const ArchitectureEntry& entry : architecture_registry()) names.emplace_back(entry.name);
  CLI::App* verb = program.add_subcommand(
      "synth", "Make a model of any shape with random weights, to measure speed and memory");
  add_choice(*verb, "--arch", options->synth.architecture, names, "Architecture")->required();
  add_text(*verb, "--config", options->config, "FILE", "config.json with the shape")->required();
  add_text(*verb, "--out", options->out, "FOLDER", "Folder to write")->required();
  add_choice(*verb, "--dtype", options->dtype, {"bfloat16", "float16", "float32"},
             "Element type of the weights");
  add_seed(*verb, "--seed", options->synth.seed, "Seed of the weights")->default_str("0");
  add_threads(*verb);
  verb->footer(
      "Example:\n"
      "  aquatint synth --arch gla --config bench/shapes/gla-1.3b.json --out gla-1.3b");
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
