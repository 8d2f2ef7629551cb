#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "cli/verbs.h"
#include "models/synth.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string arch, config, dtype = "bfloat16";
  SynthOptions synth;
  std::string out;
};

void run(Options options) {
  const Config config = Config::read(options.config);
  const auto architecture = make_architecture(config);
  if (options.arch != architecture->name()) {
    raise(ErrorKind::kInvalidArgument, "'{}' describes a {} model, not {}", options.config,
          architecture->name(), options.arch);
  }
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
  verb->add_option("--arch", options->arch, "Architecture")
      ->required()
      ->check(CLI::IsMember(names));
  verb->add_option("--config", options->config, "config.json with the shape")->required();
  verb->add_option("--out", options->out, "Folder to write")->required();
  verb->add_option("--dtype", options->dtype, "Element type of the weights")
      ->check(CLI::IsMember({"bfloat16", "float16", "float32"}))
      ->capture_default_str();
  verb->add_option("--seed", options->synth.seed, "Seed of the weights")->capture_default_str();
  declare_threads(*verb);
  verb->footer("Example:\n"
               "  aquatint synth --arch gla --config bench/shapes/gla-1.3b.json --out gla-1.3b");
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
