// The program: reads the command line, runs one verb, maps errors to exit codes. Nothing a user does ends in a
// stack trace.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <new>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/common.h"
#include "cli/verbs.h"

namespace {

constexpr const char* kDescription =
    "Aquatint quantizes, measures and runs language models: gated linear attention (GLA) today,\n"
    "Mamba, Mamba-2, GPT-2 and the Llama family to come.";

constexpr const char* kExamples =
    "Examples:\n"
    "  aquatint inspect models/gla\n"
    "  aquatint quantize models/gla --recipe w8a8-dynamic --out gla-w8a8\n"
    "  aquatint eval gla-w8a8 --text book.txt --protocol gptq --reference models/gla\n"
    "  aquatint compare models/gla gla-w8a8 --text book.txt\n"
    "  aquatint run gla-w8a8 --prompt 'It was a dark'\n"
    "\n"
    "Exit codes: 0 success, 2 bad options or input, 3 not found, 4 corrupt file, 5 unsupported,\n"
    "6 read or write failure, 7 not enough memory or disk, 8 device, 9 NaN or infinity, 1 a bug.";

int report(const char* what, int code) {
  std::fprintf(stderr, "aquatint: error: %s\n", what);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace aquatint;
  std::signal(SIGPIPE, SIG_IGN);
  init_logging(LogLevel::kInfo);

  CLI::App program(kDescription, "aquatint");
  program.footer(kExamples);
  program.set_version_flag("--version", AQUATINT_VERSION);
  program.require_subcommand(1);
  program.get_formatter()->column_width(34);
  bool quiet = false;
  program.add_flag("-q,--quiet", quiet, "No progress and no notes, only results and errors");
  program.fallthrough();
  program.parse_complete_callback([&] {
    init_logging(quiet ? LogLevel::kError : LogLevel::kInfo);
    if (!quiet) set_progress_sink(terminal_progress_sink());
  });
  cli::add_quantize(program);
  cli::add_eval(program);
  cli::add_compare(program);
  cli::add_run(program);
  cli::add_inspect(program);
  cli::add_bench(program);
  cli::add_logits(program);
  cli::add_tokenize(program);
  cli::add_synth(program);
  cli::add_completion(program);

  try {
    program.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& success) {
    return program.exit(success);  // --help, --version
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "aquatint: error: %s (see --help)\n", error.what());
    return 2;
  } catch (const Error& error) {
    return report(error.what(), cli::exit_code(error.kind()));
  } catch (const std::bad_alloc&) {
    return report("out of memory", cli::exit_code(ErrorKind::kOutOfMemory));
  } catch (const std::exception& error) {
    return report((std::string("internal error: ") + error.what()).c_str(), 1);
  }
}
