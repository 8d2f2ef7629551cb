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
#include "cli/run_modes.h"
#include "cli/verbs.h"
#include "runtime/model_text.h"

namespace aquatint::cli {
namespace {

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

// The state of the prompt, from the cache file and back to it.
class CachedSession {
 public:
  CachedSession(const RunOptions& options, RunModel& loaded)
      : path_(options.prompt_cache), loaded_(loaded) {
    if (path_.empty()) return;
    model_id_ = loaded.checkpoint.fingerprint() + " " + options.loading.dtype;
    cached_ = load_prompt_cache(path_, model_id_, loaded.model);
  }
  Session open() {
    if (!cached_) return {loaded_.model, !path_.empty()};
    return {loaded_.model, CachedPrompt{cached_->tokens, cached_->state.clone()}};
  }
  void save(const Session& session) const {
    if (path_.empty() || !session.remembered()) return;
    const CachedPrompt& prompt = *session.remembered();
    if (cached_ && cached_->tokens == prompt.tokens) return;
    save_prompt_cache(path_, model_id_, prompt.tokens, prompt.state);
  }

 private:
  std::string path_, model_id_;
  RunModel& loaded_;
  std::optional<CachedPrompt> cached_;
};

void run_prompt(RunOptions& options) {
  RunModel loaded(options);
  CachedSession cache(options, loaded);
  Session session = cache.open();
  const bool json_only = options.json == "-";
  if (!json_only && !options.no_echo) print(options.prompt);
  const GenerateResult result = generate(
      session, loaded.tokenizer, prompt_tokens(loaded.tokenizer, options.prompt, !options.no_bos),
      options.generate, [&](std::string_view text) {
        if (!json_only) print(std::string(text));
      });
  if (!json_only) print("\n");
  log_result(result);
  cache.save(session);
  if (!options.json.empty()) write_json(options.json, result_json(options, options.prompt, result));
}

void check_modes(const RunOptions& options) {
  const auto refuse_together = [](bool one, const char* first, bool other, const char* second) {
    if (one && other) {
      raise(ErrorKind::kInvalidArgument, "{} and {} exclude each other", first, second);
    }
  };
  const bool many = !options.prompts_file.empty();
  refuse_together(many, "--prompts", options.has_prompt, "--prompt");
  refuse_together(many, "--prompts", options.chat, "--chat");
  refuse_together(many, "--prompts", !options.prompt_cache.empty(), "--prompt-cache");
  refuse_together(many, "--prompts", !options.json.empty(),
                  "--json (it writes JSON lines as it is)");
  refuse_together(options.chat, "--chat", !options.prompt_cache.empty(), "--prompt-cache");
  if (!options.system.empty() && !options.chat) {
    raise(ErrorKind::kInvalidArgument, "--system needs --chat");
  }
}

void run(RunOptions options, bool has_seed) {
  options.chat = options.chat || !options.chat_template.empty();
  check_modes(options);
  const bool reads_input = !options.has_prompt && !options.chat && options.prompts_file.empty();
  if (reads_input) {
    if (::isatty(STDIN_FILENO) != 0) {
      raise(ErrorKind::kInvalidArgument, "run needs --prompt TEXT or a prompt on standard input");
    }
    options.prompt = read_standard_input();
  }
  check_output(options.json);
  check_output(options.prompt_cache);
  const auto& stops = options.generate.stop.stop;
  if (std::find(stops.begin(), stops.end(), "") != stops.end()) {
    raise(ErrorKind::kInvalidArgument, "--stop is empty, expected a text");
  }
  check_utf8(options.prompt, "the prompt", ErrorKind::kInvalidArgument);
  if (!has_seed) options.generate.sampler.seed = std::random_device{}();
  if (options.chat) {
    run_chat(options);
  } else if (!options.prompts_file.empty()) {
    run_many(options);
  } else {
    run_prompt(options);
  }
}

}  // namespace

RunModel::RunModel(RunOptions& options)
    : checkpoint(Checkpoint::open(model_folder(options.model))),
      tokenizer(open_tokenizer(model_folder(options.model))),
      model(Model::load(checkpoint, options.loading.load_options())) {
  options.generate.stop.end_tokens = end_tokens(checkpoint);
}

void log_result(const GenerateResult& result) {
  const std::size_t run = result.prompt_tokens.size() - result.remembered_tokens;
  const std::size_t decoded = result.tokens.empty() ? 0 : result.tokens.size() - 1;
  log(LogLevel::kInfo,
      "prompt {} tokens{}, {:.0f} tokens/s; generated {} tokens, {:.0f} tokens/s; stopped: {}",
      result.prompt_tokens.size(),
      result.remembered_tokens > 0 ? fmt::format(" ({} remembered)", result.remembered_tokens) : "",
      rate(run, result.prompt_seconds), result.tokens.size(), rate(decoded, result.decode_seconds),
      stop_reason_name(result.stop_reason));
}

nlohmann::json result_json(const RunOptions& options, const std::string& prompt,
                           const GenerateResult& result) {
  return {{"model", options.model},
          {"prompt", prompt},
          {"text", result.text},
          {"prompt_tokens", result.prompt_tokens},
          {"remembered_tokens", result.remembered_tokens},
          {"tokens", result.tokens},
          {"seed", options.generate.sampler.seed},
          {"stop_reason", stop_reason_name(result.stop_reason)},
          {"prompt_seconds", result.prompt_seconds},
          {"decode_seconds", result.decode_seconds},
          {"peak_memory_bytes", peak_resident_bytes()}};
}

void add_run(CLI::App& program) {
  auto options = std::make_shared<RunOptions>();
  SamplerOptions& sampler = options->generate.sampler;
  CLI::App* verb = program.add_subcommand("run", "Generate text from a prompt, streaming");
  add_model(*verb, options->model);
  auto* prompt = add_text(*verb, "-p,--prompt", options->prompt, "TEXT", "Text to continue")
                     ->default_str("standard input");
  add_count(*verb, "-n,--max-tokens", options->generate.stop.max_tokens, 0, kLargestCount,
            "Tokens to generate at most");
  declare_sampler(*verb, sampler);
  auto* seed = add_seed(*verb, "--seed", sampler.seed, "Seed of the draws")->default_str("random");
  add_repeated(*verb, "--stop", options->generate.stop.stop, "TEXT", "Stop before this text");
  verb->add_flag("--ignore-eos", options->generate.stop.ignore_eos,
                 "Go on after the end-of-text token");
  verb->add_flag("--no-bos", options->no_bos, "Put no beginning-of-text token before the prompt");
  verb->add_flag("--no-echo", options->no_echo, "Do not print the prompt before the text");
  verb->add_flag("--chat", options->chat,
                 "Converse in the model's chat format; without --prompt each line of standard "
                 "input is a message");
  add_choice(*verb, "--chat-template", options->chat_template, ChatTemplate::names(),
             "Converse in this format, whatever the model's files say");
  add_text(*verb, "--system", options->system, "TEXT", "Instructions before a conversation");
  add_text(*verb, "--prompt-cache", options->prompt_cache, "FILE",
           "Keep what the model remembers of the prompt, for a later prompt that begins with it");
  add_text(*verb, "--prompts", options->prompts_file, "FILE",
           "Generate after each prompt of a file: a line each, or .jsonl with \"prompt\"; prints "
           "JSON lines");
  add_count(*verb, "--batch", options->batch, 1, kLargestCount,
            "Prompts of --prompts that are generated together");
  options->loading.declare(*verb);
  add_threads(*verb);
  add_json(*verb, options->json);
  verb->footer(
      "Examples:\n"
      "  aquatint run models/gla -p 'It was a dark' -n 100 --seed 1\n"
      "  echo 'Call me' | aquatint run models/gla --temperature 0\n"
      "  aquatint run some/chat-model --chat --system 'Answer in one sentence.'\n"
      "  aquatint run models/gla --prompts prompts.txt --batch 32 > answers.jsonl");
  verb->callback([options, prompt, seed] {
    options->has_prompt = prompt->count() > 0;
    run(*options, seed->count() > 0);
  });
}

}  // namespace aquatint::cli
