#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "base/log.h"
#include "base/memory.h"
#include "cli/common.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "runtime/generate.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string model, prompt, json;
  GenerateOptions generate;
  ModelOptions loading;
  bool no_bos = false, no_echo = false;
};

std::string read_standard_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

double rate(std::size_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

void declare_sampler(CLI::App& verb, SamplerOptions& sampler) {
  constexpr double kMost = 1e6;
  add_number(verb, "--temperature", sampler.temperature, {0, kMost, false, false, "of 0 or more"},
             "Above 1 more varied, below 1 less; 0: always the likeliest token");
  add_count(verb, "--top-k", sampler.top_k, 0, kLargestCount,
            "Choose among the N likeliest tokens; 0: all");
  add_number(verb, "--top-p", sampler.top_p, {0, 1, true, false, "above 0, at most 1"},
             "Choose among the likeliest tokens that make up this share; 1: all");
  add_number(verb, "--min-p", sampler.min_p, {0, 1, false, true, "from 0 to below 1"},
             "Leave out tokens below this share of the likeliest one's probability");
  add_number(verb, "--repetition-penalty", sampler.repetition_penalty,
             {0, kMost, true, false, "above 0"}, "Above 1 makes tokens seen lately less likely");
  add_count(verb, "--repeat-last-n", sampler.repeat_last_n, 0, kLargestCount,
            "How many tokens back that looks; 0: all");
}

void run(Options options, bool has_prompt, bool has_seed) {
  if (!has_prompt) {
    if (::isatty(STDIN_FILENO) != 0) {
      raise(ErrorKind::kInvalidArgument, "run needs --prompt TEXT or a prompt on standard input");
    }
    options.prompt = read_standard_input();
  }
  check_output(options.json);
  const auto& stops = options.generate.stop;
  if (std::find(stops.begin(), stops.end(), "") != stops.end()) {
    raise(ErrorKind::kInvalidArgument, "--stop is empty, expected a text");
  }
  check_utf8(options.prompt, "the prompt", ErrorKind::kInvalidArgument);
  if (!has_seed) options.generate.sampler.seed = std::random_device{}();
  options.generate.add_special_tokens = !options.no_bos;

  const Checkpoint checkpoint = Checkpoint::open(options.model);
  const Tokenizer tokenizer = Tokenizer::open(options.model);
  Model model = Model::load(checkpoint, options.loading.load_options());
  const bool json_only = options.json == "-";
  if (!json_only && !options.no_echo) print(options.prompt);
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
  add_model(*verb, options->model);
  auto* prompt = add_text(*verb, "-p,--prompt", options->prompt, "TEXT", "Text to continue")
                     ->default_str("standard input");
  add_count(*verb, "-n,--max-tokens", options->generate.max_tokens, 0, kLargestCount,
            "Tokens to generate at most");
  declare_sampler(*verb, sampler);
  auto* seed = add_seed(*verb, sampler.seed, "Seed of the draws")->default_str("random");
  add_repeated(*verb, "--stop", options->generate.stop, "TEXT", "Stop before this text");
  verb->add_flag("--ignore-eos", options->generate.ignore_eos, "Go on after the end-of-text token");
  verb->add_flag("--no-bos", options->no_bos, "Put no beginning-of-text token before the prompt");
  verb->add_flag("--no-echo", options->no_echo, "Do not print the prompt before the text");
  options->loading.declare(*verb);
  add_threads(*verb);
  add_json(*verb, options->json);
  verb->footer(
      "Examples:\n"
      "  aquatint run models/gla -p 'It was a dark' -n 100 --seed 1\n"
      "  echo 'Call me' | aquatint run models/gla --temperature 0");
  verb->callback(
      [options, prompt, seed] { run(*options, prompt->count() > 0, seed->count() > 0); });
}

}  // namespace aquatint::cli
