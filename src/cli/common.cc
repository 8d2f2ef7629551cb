#include "cli/common.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "device/device_memory.h"
#include "formats/atomic_file.h"
#include "hub/pull.h"
#include "text/unicode.h"

namespace aquatint::cli {
namespace {

constexpr std::int64_t kMostTokens = std::int64_t{1} << 24;
constexpr std::int64_t kMostDeviceMib = std::int64_t{1} << 24;
constexpr std::int64_t kMostRepeats = 10'000;

// As the number of threads, a property of the process that an option of any verb sets.
bool& is_offline() {
  static bool instance = false;
  return instance;
}

}  // namespace

void add_device(CLI::App& verb, std::string& device, const std::string& does) {
  offer(add_text(verb, "--device", device, "DEVICE",
                 "Where " + does +
                     ": cpu, cuda (the first NVIDIA GPU), cuda:N, or auto (a GPU if there is one)"),
        {"cpu", "cuda", "auto"});
}

void add_offline(CLI::App& verb) {
  verb.add_flag_callback(
      "--offline", [] { is_offline() = true; },
      "Download nothing: look for ORG/NAME in the cache only (as HF_HUB_OFFLINE=1)");
}

hub::Settings hub_settings() {
  hub::Settings settings = hub::Settings::from_environment();
  settings.offline = settings.offline || is_offline();
  settings.user_agent = "aquatint/" AQUATINT_VERSION;
  return settings;
}

std::filesystem::path model_folder(const std::string& model) {
  if (!hub::names_download(model)) return model;
  return hub::find_download(hub::parse_repo_name(model), hub_settings());
}

void ModelOptions::declare(CLI::App& verb) {
  add_choice(verb, "--dtype", dtype, {"auto", "float32", "bfloat16"},
             "Arithmetic of weights that are not quantized (auto: float32, but bfloat16 beside "
             "quantized weights)");
  add_choice(verb, "--kv-cache", kv_cache, {"f32", "bf16", "int8"},
             "How models with attention remember keys and values (int8: with a scale per head and "
             "token)");
  add_device(verb, device, "the model runs");
  add_count(verb, "--device-memory", device_mib, 0, kMostDeviceMib,
            "Most memory to take of a GPU, in MiB (0: all)");
  verb.add_flag("--simulate", simulate,
                "Run quantized weights in float arithmetic on the same grid, not in the integer "
                "kernels");
}

LoadOptions ModelOptions::load_options() const {
  LoadOptions options;
  if (dtype == "bfloat16") options.compute = kernels::DenseType::kBF16;
  if (dtype == "float32") options.compute = kernels::DenseType::kF32;
  options.execution = simulate ? Execution::kSimulated : Execution::kInteger;
  if (kv_cache == "bf16") options.kv_cache = kernels::KvType::kBF16;
  if (kv_cache == "int8") options.kv_cache = kernels::KvType::kInt8;
  options.device = parse_device(device);
  if (options.device.is_cuda()) set_device_memory_limit(options.device, device_mib << 20);
  return options;
}

std::vector<std::string> ModelOptions::arguments() const {
  std::vector<std::string> result = {
      "--dtype",  dtype,  "--kv-cache",      kv_cache,
      "--device", device, "--device-memory", std::to_string(device_mib)};
  if (simulate) result.emplace_back("--simulate");
  return result;
}

Model load_model(const std::string& model, const LoadOptions& options) {
  return Model::load(Checkpoint::open(model_folder(model)), options);
}

void SpeedOptions::declare(CLI::App& verb) {
  add_count(verb, "--prompt-tokens", bench.prompt_tokens, 1, kMostTokens, "Tokens of the prefill");
  add_count(verb, "--generated-tokens", bench.generated_tokens, 1, kMostTokens,
            "Tokens of the decode");
  add_count(verb, "--repeats", repeats, 1, kMostRepeats, "Timed runs, after one to warm up");
}

BenchOptions SpeedOptions::resolve() const {
  BenchOptions result = bench;
  result.repeats = static_cast<int>(repeats);
  return result;
}

void check_output(const std::string& path) {
  if (path.empty() || path == "-") return;
  std::error_code error;
  const std::filesystem::path file(path);
  if (std::filesystem::is_directory(file, error)) {
    raise(ErrorKind::kIo, "'{}' is a folder; the name of a file is needed", path);
  }
  const std::filesystem::path parent = file.parent_path().empty() ? "." : file.parent_path();
  if (!std::filesystem::is_directory(parent, error)) {
    raise(ErrorKind::kIo, "'{}': there is no folder '{}' to write to", path, parent.string());
  }
  if (::access(parent.c_str(), W_OK) != 0) {
    raise(ErrorKind::kIo, "'{}': cannot write to folder '{}': {}", path, parent.string(),
          std::strerror(errno));
  }
}

void check_utf8(std::string_view text, const std::string& what, ErrorKind kind) {
  for (std::size_t at = 0; at < text.size();) {
    const text::Utf8Unit unit = text::utf8_unit_at(text, at);
    if (!unit.valid) raise(kind, "{}: byte {} is not UTF-8 text", what, at);
    at += unit.size;
  }
}

void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    raise(ErrorKind::kIo, "cannot write to standard output");
  }
}

void write_json(const std::string& path, const nlohmann::json& value) {
  const std::string text = value.dump(2) + "\n";
  if (path == "-") {
    print(text);
  } else {
    write_text_file(path, text);
  }
}

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument:
      return 2;
    case ErrorKind::kNotFound:
      return 3;
    case ErrorKind::kCorrupt:
      return 4;
    case ErrorKind::kUnsupported:
      return 5;
    case ErrorKind::kIo:
      return 6;
    case ErrorKind::kOutOfMemory:
      return 7;
    case ErrorKind::kDevice:
      return 8;
    case ErrorKind::kNumeric:
      return 9;
    case ErrorKind::kInterrupted:
      return 130;
  }
  return 1;
}

}  // namespace aquatint::cli
