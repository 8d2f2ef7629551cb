#include "quantize/export.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "cli/common.h"
#include "cli/options.h"
#include "cli/verbs.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string model, dtype = "float32", json;
  std::string out;
  std::int64_t shard_mib = kDefaultShardMib;
  bool overwrite = false, clamp = false;
};

void run(const Options& options) {
  check_output(options.json);
  ExportOptions settings;
  settings.output = options.out;
  settings.dtype = options.dtype == "float16"    ? DType::kF16
                   : options.dtype == "bfloat16" ? DType::kBF16
                                                 : DType::kF32;
  settings.max_shard_bytes = options.shard_mib << 20;
  settings.overwrite = options.overwrite;
  settings.clamp = options.clamp;
  const Checkpoint checkpoint = Checkpoint::open(model_folder(options.model));
  const ExportResult result = export_model(checkpoint, settings);
  if (!options.json.empty()) {
    write_json(options.json, {{"model", options.model},
                              {"out", options.out},
                              {"dtype", options.dtype},
                              {"bytes_before", result.bytes_before},
                              {"bytes_after", result.bytes_after},
                              {"clamped", result.clamped},
                              {"shards", result.shards},
                              {"seconds", result.seconds},
                              {"peak_memory_bytes", peak_resident_bytes()}});
  }
  if (options.json == "-") return;
  const std::string clamped =
      options.clamp ? fmt::format(", {} values clamped", result.clamped) : "";
  print(fmt::format("wrote {}: {} of {}{} in {:.1f} s, peak memory {}\n", options.out,
                    format_bytes(result.bytes_after), options.dtype, clamped, result.seconds,
                    format_bytes(peak_resident_bytes())));
}

}  // namespace

void add_export(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = program.add_subcommand(
      "export", "Write a copy of a model, quantized or not, in one float type");
  add_model(*verb, options->model);
  add_text(*verb, "--out", options->out, "FOLDER", "Folder to write")->required();
  add_choice(*verb, "--dtype", options->dtype, {"float32", "bfloat16", "float16"},
             "Element type of the copy");
  verb->add_flag("--clamp", options->clamp,
                 "Make values that the type cannot hold its largest, instead of an error");
  verb->add_flag("--overwrite", options->overwrite, "Replace an existing output folder");
  add_shard_size(*verb, options->shard_mib);
  add_threads(*verb);
  add_json(*verb, options->json);
  verb->footer(
      "Examples:\n"
      "  aquatint export models/gla --dtype bfloat16 --out gla-bf16\n"
      "  aquatint export gla-w4a16 --out gla-of-w4a16");
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
