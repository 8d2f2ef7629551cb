// The program: reads the command line, runs one verb, maps errors to exit codes. Nothing a user
// does ends in a stack trace.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <new>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/verbs.h"

namespace {

constexpr const char* kDescription =
    "Quantize, measure and run language models with gated linear attention (GLA)";

constexpr const char* kExamples =
    "Examples:\n"
    "  aquatint inspect models/gla\n"
    "  aquatint quantize models/gla --recipe w8a8-dynamic --out gla-w8a8\n"
    "  aquatint eval gla-w8a8 --text book.txt --protocol gptq --reference models/gla\n"
    "  aquatint compare models/gla gla-w8a8 --text book.txt\n"
    "  aquatint run gla-w8a8 --prompt 'It was a dark'\n"
    "\n"
    "Exit codes: 0 success, 2 bad options or input, 3 not found, 4 corrupt file,\n"
    "5 unsupported, 6 read or write failure, 7 not enough memory or disk, 8 device,\n"
    "9 NaN or infinity, 1 a bug.";

int report(const char* what, int code) {
  std::fprintf(stderr, "aquatint: error: %s\n", what);
  return code;
}

// Help and version, which may fail to be printed like any result.
int show(const std::string& text) {
  try {
    aquatint::cli::print(text);
    return 0;
  } catch (const aquatint::Error& error) {
    return report(error.what(), aquatint::cli::exit_code(error.kind()));
  }
}

// Of the verb that was named, or of the program.
std::string help_of(const CLI::App& program) {
  const auto verbs = program.get_subcommands();
  return verbs.empty() ? program.help() : verbs.front()->help();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace aquatint;
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error of the write, not the end
  init_logging(LogLevel::kInfo);

  CLI::App program(kDescription, "aquatint");
  program.footer(kExamples);
  program.set_version_flag("--version", "aquatint " AQUATINT_VERSION, "Print the version");
  program.require_subcommand(1);
  program.formatter(cli::make_help_formatter());
  bool quiet = false;
  program.add_flag("-q,--quiet", quiet, "Print results and errors only: no progress, no notes");
  program.fallthrough();
  program.parse_complete_callback([&] {
    init_logging(quiet ? LogLevel::kError : LogLevel::kInfo);
    if (!quiet) set_progress_sink(terminal_progress_sink());
  });
  cli::add_quantize(program);
  cli::add_eval(program);
  cli::add_compare(program);
  cli::add_sensitivity(program);
  cli::add_run(program);
  cli::add_inspect(program);
  cli::add_bench(program);
  cli::add_pull(program);
  cli::add_export(program);
  cli::add_logits(program);
  cli::add_tokenize(program);
  cli::add_synth(program);
  cli::add_completion(program);

  if (argc == 1) return show(program.help());
  try {
    program.parse(argc, argv);
    return 0;
  } catch (const CLI::CallForVersion& version) {
    return show(std::string(version.what()) + "\n");
  } catch (const CLI::Success&) {
    return show(help_of(program));
  } catch (const CLI::ParseError& error) {
    return report(cli::explain(error, program).c_str(), 2);
  } catch (const Error& error) {
    return report(error.what(), cli::exit_code(error.kind()));
  } catch (const std::bad_alloc&) {
    return report("out of memory", cli::exit_code(ErrorKind::kOutOfMemory));
  } catch (const std::exception& error) {
    return report((std::string("internal error: ") + error.what()).c_str(), 1);
  }
}
