#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "cli/common.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "device/device_memory.h"
#include "report/bench_report.h"

namespace aquatint::cli {
namespace {

constexpr std::int64_t kMostSequences = 4096;

struct Options {
  std::string model, json;
  SpeedOptions speed;
  ModelOptions loading;
  bool ceilings = false;
};

void run(const Options& options) {
  check_output(options.json);
  const BenchOptions bench = options.speed.resolve();
  Model model = load_model(options.model, options.loading.load_options());
  const bool bf16 = model.compute() == kernels::DenseType::kBF16;
  BenchSetting setting{options.model, bf16 ? "bfloat16" : "float32", bench, 0, model.device(), 0};
  const BenchResult result = run_bench(model, bench);
  setting.peak_memory_bytes =
      peak_resident_bytes();  // before the ceilings take memory of their own
  if (model.device().is_cuda()) {
    setting.peak_device_bytes = device_memory(model.device()).peak_bytes;
  }
  std::optional<Ceilings> ceilings;
  if (options.ceilings) ceilings = measure_ceilings(model.device());
  if (!options.json.empty()) write_json(options.json, bench_json(setting, result, ceilings));
  if (options.json != "-") print(bench_text(setting, result, ceilings));
}

}  // namespace

void add_bench(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = program.add_subcommand(
      "bench", "Measure prefill and decode rates (medians over runs) and peak memory");
  add_model(*verb, options->model);
  options->speed.declare(*verb);
  add_count(*verb, "--batch", options->speed.bench.batch, 1, kMostSequences,
            "Sequences run together");
  verb->add_flag("--ceilings", options->ceilings,
                 "Measure memory bandwidth and library products too, and give shares of them");
  options->loading.declare(*verb);
  add_threads(*verb);
  add_json(*verb, options->json);
  verb->footer("Example:\n  aquatint bench gla-w8a8 --prompt-tokens 2048 --ceilings");
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
