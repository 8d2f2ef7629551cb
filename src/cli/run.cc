#include <CLI/CLI.hpp>
#include <unistd.h>

#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "base/log.h"
#include "base/memory.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "runtime/generate.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string model, prompt, json;
  GenerateOptions generate;
  ModelOptions loading;
  bool no_bos = false, echo = true;
};

std::string read_standard_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

double rate(std::size_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

void run(Options options, bool has_prompt, bool has_seed) {
  if (!has_prompt) {
    if (::isatty(STDIN_FILENO) != 0) {
      raise(ErrorKind::kInvalidArgument, "run needs --prompt TEXT or a prompt on standard input");
    }
    options.prompt = read_standard_input();
  }
  if (!has_seed) options.generate.sampler.seed = std::random_device{}();
  options.generate.add_special_tokens = !options.no_bos;

  const Checkpoint checkpoint = Checkpoint::open(options.model);
  const Tokenizer tokenizer = Tokenizer::open(options.model);
  Model model = Model::load(checkpoint, options.loading.load_options());
  const bool json_only = options.json == "-";
  if (!json_only && options.echo) print(options.prompt);
  const GenerateResult result =
      generate(model, tokenizer, options.prompt, options.generate, [&](std::string_view text) {
        if (!json_only) print(std::string(text));
      });
  if (!json_only) print("\n");
  const std::size_t decoded = result.tokens.empty() ? 0 : result.tokens.size() - 1;
  log(LogLevel::kInfo,
      "prompt {} tokens, {:.0f} tokens/s; generated {} tokens, {:.0f} tokens/s; stopped: {}",
      result.prompt_tokens.size(), rate(result.prompt_tokens.size(), result.prompt_seconds),
      result.tokens.size(), rate(decoded, result.decode_seconds),
      stop_reason_name(result.stop_reason));
  if (options.json.empty()) return;
  write_json(options.json, {{"model", options.model},
                            {"prompt", options.prompt},
                            {"text", result.text},
                            {"prompt_tokens", result.prompt_tokens},
                            {"tokens", result.tokens},
                            {"seed", options.generate.sampler.seed},
                            {"stop_reason", stop_reason_name(result.stop_reason)},
                            {"prompt_seconds", result.prompt_seconds},
                            {"decode_seconds", result.decode_seconds},
                            {"peak_memory_bytes", peak_resident_bytes()}});
}

}  // namespace

void add_run(CLI::App& program) {
  auto options = std::make_shared<Options>();
  SamplerOptions& sampler = options->generate.sampler;
  CLI::App* verb = program.add_subcommand("run", "Generate text from a prompt, streaming");
  verb->add_option("model", options->model, "Model folder")->required();
  auto* prompt = verb->add_option("-p,--prompt", options->prompt,
                                  "Prompt (default: read from standard input)");
  verb->add_option("-n,--max-tokens", options->generate.max_tokens, "Tokens to generate at most")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb->add_option("--temperature", sampler.temperature, "0 always takes the likeliest token")
      ->capture_default_str();
  verb->add_option("--top-k", sampler.top_k, "Choose among the k likeliest; 0: all")
      ->capture_default_str();
  verb->add_option("--top-p", sampler.top_p, "Choose among the likeliest that make up this share")
      ->capture_default_str();
  verb->add_option("--min-p", sampler.min_p, "Drop tokens below this share of the likeliest")
      ->capture_default_str();
  verb->add_option("--repetition-penalty", sampler.repetition_penalty,
                   "Above 1 discourages tokens seen lately")
      ->capture_default_str();
  verb->add_option("--repeat-last-n", sampler.repeat_last_n, "How far back that looks; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  auto* seed = verb->add_option("--seed", sampler.seed, "Seed of the draws (default: random)");
  verb->add_option("--stop", options->generate.stop, "Text that ends the generation (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  verb->add_flag("--ignore-eos", options->generate.ignore_eos, "Go on after end-of-text");
  verb->add_flag("--no-bos", options->no_bos, "No beginning-of-text token before the prompt");
  verb->add_flag("!--no-echo", options->echo, "Do not print the prompt");
  verb->add_option("--json", options->json, "Write the result as JSON to a file, or - for output");
  options->loading.declare(*verb);
  declare_threads(*verb);
  verb->footer("Examples:\n"
               "  aquatint run models/gla -p 'It was a dark' -n 100 --seed 1\n"
               "  echo 'Call me' | aquatint run models/gla --temperature 0");
  verb->callback([options, prompt, seed] { run(*options, prompt->count() > 0, seed->count() > 0); });
}

}  // namespace aquatint::cli
