#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/run_modes.h"
#include "runtime/model_text.h"

namespace aquatint::cli {
namespace {

std::string token_text(const Tokenizer& tokenizer, std::optional<TokenId> id) {
  return id ? tokenizer.id_to_token(*id).value_or("") : "";
}

// Turns messages into answers, remembering all of them.
class Conversation {
 public:
  explicit Conversation(RunOptions& options)
      : options_(options),
        loaded_(options),
        format_(options.chat_template.empty() ? open_chat_template(model_folder(options.model))
                                              : ChatTemplate::named(options.chat_template)),
        session_(loaded_.model, /*remembers=*/true) {
    if (!options.system.empty()) messages_.push_back({ChatRole::kSystem, options.system});
    if (const auto end = loaded_.tokenizer.token_to_id(format_.turn_end())) {
      options.generate.stop.end_tokens.push_back(*end);
    }
  }

  GenerateResult answer(const std::string& message) {
    const Tokenizer& tokenizer = loaded_.tokenizer;
    messages_.push_back({ChatRole::kUser, message});
    const std::string text = format_.render(messages_, token_text(tokenizer, tokenizer.bos_id()),
                                            token_text(tokenizer, tokenizer.eos_id()));
    const bool shows = options_.json != "-";
    GenerateResult result =
        generate(session_, tokenizer, prompt_tokens(tokenizer, text, /*add_special_tokens=*/false),
                 options_.generate, [&](std::string_view piece) {
                   if (shows) print(std::string(piece));
                 });
    if (shows) print("\n");
    log_result(result);
    messages_.push_back({ChatRole::kAssistant, result.text});
    return result;
  }

 private:
  RunOptions& options_;
  RunModel loaded_;
  ChatTemplate format_;
  Session session_;
  std::vector<ChatMessage> messages_;
};

}  // namespace

void run_chat(RunOptions& options) {
  check_utf8(options.system, "--system", ErrorKind::kInvalidArgument);
  Conversation conversation(options);
  nlohmann::json answers = nlohmann::json::array();
  const auto answer = [&](const std::string& message) {
    answers.push_back(result_json(options, message, conversation.answer(message)));
  };
  if (options.has_prompt) {
    answer(options.prompt);
  } else {
    const bool terminal = ::isatty(STDIN_FILENO) != 0;
    std::string line;
    while (true) {
      if (terminal) print("> ");
      if (!std::getline(std::cin, line)) break;
      check_utf8(line, "the message", ErrorKind::kInvalidArgument);
      if (!line.empty()) answer(line);
    }
    if (terminal) print("\n");
  }
  if (!options.json.empty()) write_json(options.json, answers);
}

}  // namespace aquatint::cli
