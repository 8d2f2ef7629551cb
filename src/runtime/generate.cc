#include "runtime/generate.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/error.h"

namespace aquatint {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Whether a sequence of this length cannot take another token.
bool is_full(const Model& model, std::int64_t length) {
  const std::int64_t positions = model.architecture().max_positions();
  return positions > 0 && length >= positions;
}

GenerateResult result_of(const Answer& answer, std::vector<std::int32_t> prompt) {
  GenerateResult result;
  result.prompt_tokens = std::move(prompt);
  result.tokens = answer.tokens();
  result.text = answer.text();
  result.stop_reason = answer.reason();
  return result;
}

// One of the sequences that are generated together.
struct Slot {
  Slot(const Model& model, const Tokenizer& tokenizer, const GenerateOptions& options,
       std::size_t prompt_index, const std::vector<std::int32_t>& tokens)
      : prompt(prompt_index),
        state(model.new_state()),
        sampler(with_seed(options.sampler, prompt_index)),
        answer(tokenizer, options.stop, tokens),
        history(tokens),
        pending(tokens) {}

  static SamplerOptions with_seed(SamplerOptions options, std::size_t index) {
    options.seed += index;
    return options;
  }

  std::size_t prompt;
  SequenceState state;
  Sampler sampler;
  Answer answer;
  std::vector<std::int32_t> history, pending;  // all tokens; those not run yet
  double prompt_seconds = 0, decode_seconds = 0;
};

// Runs what is pending in each of the slots and gives each its next token.
void advance(Model& model, const Tokenizer& tokenizer,
             std::span<const std::unique_ptr<Slot>> slots) {
  std::vector<ModelInput> inputs;
  std::vector<TokenChoice> choices;
  for (const auto& slot : slots) {
    inputs.push_back({slot->pending, &slot->state});
    choices.push_back(slot->sampler.next(slot->history));
  }
  const auto start = Clock::now();
  const auto tokens = model.next_tokens(inputs, choices, tokenizer.vocab_size());
  const double seconds = seconds_since(start);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = *slots[i];
    const bool prompt = slot.pending.size() == slot.history.size();
    (prompt ? slot.prompt_seconds : slot.decode_seconds) += seconds;
    slot.answer.push(tokens[i]);
    slot.pending = {tokens[i]};
    slot.history.push_back(tokens[i]);
    if (!slot.answer.done() && is_full(model, slot.state.length())) slot.answer.end_at_positions();
  }
}

}  // namespace

std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, std::string_view prompt,
                                        bool add_special_tokens) {
  std::vector<std::int32_t> tokens = tokenizer.encode(prompt, add_special_tokens);
  if (tokens.empty() && tokenizer.bos_id()) tokens.push_back(*tokenizer.bos_id());
  if (tokens.empty()) raise(ErrorKind::kInvalidArgument, "the prompt is empty");
  return tokens;
}

std::vector<std::int32_t> end_tokens(const Checkpoint& checkpoint) {
  const std::filesystem::path path = checkpoint.folder() / "generation_config.json";
  std::vector<std::int64_t> ids;
  if (std::filesystem::exists(path)) ids = Config::read(path).get_ints("eos_token_id");
  if (ids.empty()) ids = checkpoint.config().get_ints("eos_token_id");
  std::vector<std::int32_t> tokens;
  for (const std::int64_t id : ids) {
    // Others are never generated.
    if (id >= 0 && id < checkpoint.architecture().vocab_size()) {
      tokens.push_back(static_cast<std::int32_t>(id));
    }
  }
  return tokens;
}

GenerateResult generate(Session& session, const Tokenizer& tokenizer,
                        std::vector<std::int32_t> prompt, const GenerateOptions& options,
                        const std::function<void(std::string_view)>& on_text) {
  Sampler sampler(options.sampler);
  Answer answer(tokenizer, options.stop, prompt);
  std::vector<std::int32_t> history = prompt;
  const auto next = [&](std::span<const std::int32_t> tokens) {
    return session.next(tokens, sampler.next(history), tokenizer.vocab_size());
  };
  const auto show = [&](const std::string& text) {
    if (!text.empty()) on_text(text);
  };

  auto start = Clock::now();
  const std::size_t remembered = session.begin(prompt);
  std::int32_t token = next(std::span(prompt).subspan(session.tokens().size()));
  const double prompt_seconds = seconds_since(start);
  start = Clock::now();
  while (!answer.done()) {
    show(answer.push(token));
    if (answer.done()) break;
    if (is_full(session.model(), session.length())) {
      show(answer.end_at_positions());
      break;
    }
    history.push_back(token);
    token = next({&token, 1});
  }
  GenerateResult result = result_of(answer, std::move(prompt));
  result.remembered_tokens = remembered;
  result.prompt_seconds = prompt_seconds;
  result.decode_seconds = seconds_since(start);
  return result;
}

void generate_many(
    Model& model, const Tokenizer& tokenizer, std::span<const std::vector<std::int32_t>> prompts,
    std::int64_t batch, const GenerateOptions& options,
    const std::function<void(std::size_t prompt, GenerateResult result)>& on_result) {
  AQUATINT_ASSERT(batch >= 1);
  std::vector<std::unique_ptr<Slot>> slots;
  std::size_t begun = 0;
  while (true) {
    while (static_cast<std::int64_t>(slots.size()) < batch && begun < prompts.size()) {
      slots.push_back(std::make_unique<Slot>(model, tokenizer, options, begun, prompts[begun]));
      ++begun;
    }
    if (slots.empty()) return;
    if (options.stop.max_tokens > 0) advance(model, tokenizer, slots);
    std::erase_if(slots, [&](const std::unique_ptr<Slot>& slot) {
      if (!slot->answer.done()) return false;
      GenerateResult result = result_of(slot->answer, prompts[slot->prompt]);
      result.prompt_seconds = slot->prompt_seconds;
      result.decode_seconds = slot->decode_seconds;
      on_result(slot->prompt, std::move(result));
      return true;
    });
  }
}

}  // namespace aquatint
