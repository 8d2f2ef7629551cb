// Conversations as the text that a chat model was trained on. Models say their format as a Jinja
// program in tokenizer_config.json; this knows the common formats by name and recognizes which of
// them such a program writes, but does not run the program itself (docs/guide/cli.md, "Chat").
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aquatint {

enum class ChatRole { kSystem, kUser, kAssistant };

struct ChatMessage {
  ChatRole role = ChatRole::kUser;
  std::string content;
};

namespace text {
struct ChatFormat;
}

class ChatTemplate {
 public:
  // "chatml", "llama3", …
  static std::vector<std::string> names();
  // Error kInvalidArgument names those there are.
  static ChatTemplate named(std::string_view name);
  // The format that a Jinja chat template writes; empty if it is none of these.
  static std::optional<ChatTemplate> recognize(std::string_view jinja);
  // That of a model folder: chat_template.jinja, else chat_template in tokenizer_config.json (a
  // string, or a list of which "default" counts). Error kUnsupported when there is none or it is
  // not recognized, naming the formats to choose from.
  static ChatTemplate of_model(const std::filesystem::path& folder);
  // That of the text of a tokenizer_config.json; `origin` is what error messages call it.
  static ChatTemplate of_config(std::string_view tokenizer_config_json, const std::string& origin);

  std::string name() const;
  // The conversation with, at its end, what asks for the assistant's answer. `bos` and `eos` are
  // the tokenizer's tokens as text ("" if it has none): the result holds every special token the
  // format wants and is encoded without adding more. Messages are a system message or none, then
  // user and assistant in turn, the last a user's. Error kInvalidArgument for another order.
  std::string render(std::span<const ChatMessage> messages, std::string_view bos,
                     std::string_view eos) const;
  // The token that ends an answer, beside the tokenizer's end-of-text token; "" if only that does.
  std::string turn_end() const;

 private:
  explicit ChatTemplate(const text::ChatFormat& format) : format_(&format) {}
  const text::ChatFormat* format_;
};

}  // namespace aquatint
