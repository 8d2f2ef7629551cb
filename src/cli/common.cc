#include "cli/common.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/threads.h"
#include "formats/atomic_file.h"

namespace aquatint::cli {

void ModelOptions::declare(CLI::App& verb) {
  verb.add_option("--dtype", dtype,
                  "Arithmetic of weights that are not quantized: float32 or bfloat16")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  verb.add_flag("--simulate", simulate,
                "Run quantized weights in float arithmetic on the same grid instead of the integer "
                "kernels");
}

LoadOptions ModelOptions::load_options() const {
  LoadOptions options;
  options.compute =
      dtype == "bfloat16" ? kernels::DenseType::kBF16 : kernels::DenseType::kF32;
  options.execution = simulate ? Execution::kSimulated : Execution::kInteger;
  return options;
}

void declare_threads(CLI::App& verb) {
  verb.add_option_function<int>("--threads", set_num_threads, "Threads to use (default: all cores)")
      ->check(CLI::Range(1, 1024));
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
    case ErrorKind::kInvalidArgument: return 2;
    case ErrorKind::kNotFound: return 3;
    case ErrorKind::kCorrupt: return 4;
    case ErrorKind::kUnsupported: return 5;
    case ErrorKind::kIo: return 6;
    case ErrorKind::kOutOfMemory: return 7;
    case ErrorKind::kDevice: return 8;
    case ErrorKind::kNumeric: return 9;
    case ErrorKind::kInterrupted: return 130;
  }
  return 1;
}

}  // namespace aquatint::cli
