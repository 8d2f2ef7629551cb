#include "text/chat_template.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/trimmed.h"
#include "text/json_fields.h"

namespace aquatint {
namespace text {

enum class SystemPlace {
  kTurn,       // a turn of its own, before the first
  kFirstUser,  // inside the first user turn, before its content
};

// In what stands around a message "{bos}" and "{eos}" are the tokenizer's tokens.
struct ChatFormat {
  const char* name;
  std::vector<const char*> marks;  // a Jinja template with all of these writes this format
  const char* beginning;
  SystemPlace system_place;
  const char *system_before, *system_after;
  const char* default_system;  // null: no system message means no system text
  const char *user_before, *user_after;
  const char *assistant_before, *assistant_after;
  const char* generation;  // asks for the assistant's answer
  bool trims;              // messages lose blanks at both ends
  const char* turn_end;
};

namespace {

// The first whose marks all occur is taken, so that special ones come before general ones.
const std::vector<ChatFormat>& formats() {
  using enum SystemPlace;
  const auto chatml = [](const char* name, std::vector<const char*> marks, const char* system) {
    return ChatFormat{name,
                      std::move(marks),
                      "",
                      kTurn,
                      "<|im_start|>system\n",
                      "<|im_end|>\n",
                      system,
                      "<|im_start|>user\n",
                      "<|im_end|>\n",
                      "<|im_start|>assistant\n",
                      "<|im_end|>\n",
                      "<|im_start|>assistant\n",
                      false,
                      "<|im_end|>"};
  };
  const auto llama3 = [](const char* name, std::vector<const char*> marks, const char* before,
                         const char* system) {
    return ChatFormat{name,         std::move(marks),
                      "{bos}",      kTurn,
                      before,       "<|eot_id|>",
                      system,       "<|start_header_id|>user<|end_header_id|>\n\n",
                      "<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n",
                      "<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n",
                      true,         "<|eot_id|>"};
  };
  static const std::vector<ChatFormat> all = {
      chatml("qwen2.5", {"<|im_start|>", "created by Alibaba Cloud"},
             "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
      chatml("qwen2", {"<|im_start|>", "You are a helpful assistant"},
             "You are a helpful assistant."),
      chatml("smollm2", {"<|im_start|>", "named SmolLM, trained by Hugging Face"},
             "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
      chatml("chatml", {"<|im_start|>", "<|im_end|>"}, nullptr),
      llama3("llama3.1", {"<|start_header_id|>", "Cutting Knowledge Date"},
             "<|start_header_id|>system<|end_header_id|>\n\n"
             "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
             ""),
      llama3("llama3", {"<|start_header_id|>", "<|eot_id|>"},
             "<|start_header_id|>system<|end_header_id|>\n\n", nullptr),
      {"llama2",
       {"[INST]", "<<SYS>>"},
       "",
       kFirstUser,
       "<<SYS>>\n",
       "\n<</SYS>>\n\n",
       nullptr,
       "{bos}[INST] ",
       " [/INST]",
       " ",
       " {eos}",
       "",
       true,
       ""},
      {"mistral",
       {"[INST]", "[/INST]"},
       "{bos}",
       kFirstUser,
       "",
       "\n\n",
       nullptr,
       "[INST] ",
       " [/INST]",
       "",
       "{eos}",
       "",
       false,
       ""},
      {"zephyr",
       {"<|user|>", "<|assistant|>", "eos_token"},
       "",
       kTurn,
       "<|system|>\n",
       "{eos}\n",
       nullptr,
       "<|user|>\n",
       "{eos}\n",
       "<|assistant|>\n",
       "{eos}\n",
       "<|assistant|>\n",
       false,
       ""},
      {"minicpm",
       {"<用户>", "<AI>"},
       "{bos}",
       kTurn,
       "",
       "",
       nullptr,
       "<用户>",
       "<AI>",
       "",
       "",
       "",
       true,
       ""},
  };
  return all;
}

std::string filled(std::string_view form, std::string_view bos, std::string_view eos) {
  std::string out;
  while (!form.empty()) {
    if (form.starts_with("{bos}") || form.starts_with("{eos}")) {
      out += form[1] == 'b' ? bos : eos;
      form.remove_prefix(5);
    } else {
      out += form.front();
      form.remove_prefix(1);
    }
  }
  return out;
}

// As Python's strip() of ASCII.
constexpr std::string_view kBlanks = " \t\n\v\f\r";

std::string joined_names() {
  std::string out;
  for (const ChatFormat& format : formats()) {
    out += (out.empty() ? "" : ", ") + std::string(format.name);
  }
  return out;
}

const char* role_name(ChatRole role) {
  switch (role) {
    case ChatRole::kSystem:
      return "system";
    case ChatRole::kUser:
      return "user";
    case ChatRole::kAssistant:
      return "assistant";
  }
  return "";
}

// Of the turns after a system message: user, assistant, user, …, ending with a user's.
void check_turns(std::span<const ChatMessage> turns) {
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const ChatRole wanted = i % 2 == 0 ? ChatRole::kUser : ChatRole::kAssistant;
    if (turns[i].role == wanted) continue;
    raise(ErrorKind::kInvalidArgument,
          "message {} of the conversation is from '{}', expected one from '{}'", i + 1,
          role_name(turns[i].role), role_name(wanted));
  }
  if (turns.size() % 2 == 1) return;
  raise(ErrorKind::kInvalidArgument, "the conversation does not end with a message from 'user'");
}

// The "default" template of tokenizer_config.json, or the only one.
std::optional<std::string> template_of_config(const nlohmann::json& config,
                                              const std::string& where) {
  const nlohmann::json& value = field(config, "chat_template", where);
  if (!value.is_array()) return optional_string(config, "chat_template", where);
  for (const nlohmann::json& entry : value) {
    const std::string here = where + ": chat_template";
    if (string_field(entry, "name", here) == "default") {
      return string_field(entry, "template", here);
    }
  }
  return std::nullopt;
}

}  // namespace
}  // namespace text

std::vector<std::string> ChatTemplate::names() {
  std::vector<std::string> out;
  for (const text::ChatFormat& format : text::formats()) out.emplace_back(format.name);
  return out;
}

ChatTemplate ChatTemplate::named(std::string_view name) {
  for (const text::ChatFormat& format : text::formats()) {
    if (name == format.name) return ChatTemplate(format);
  }
  raise(ErrorKind::kInvalidArgument, "chat template '{}' is not known (known: {})", name,
        text::joined_names());
}

std::optional<ChatTemplate> ChatTemplate::recognize(std::string_view jinja) {
  for (const text::ChatFormat& format : text::formats()) {
    bool all = true;
    for (const char* mark : format.marks) all = all && jinja.find(mark) != std::string_view::npos;
    if (all) return ChatTemplate(format);
  }
  return std::nullopt;
}

namespace {

// The format that the program `jinja`, if there is one, writes; `where` is what it is from.
ChatTemplate recognize_or_raise(const std::optional<std::string>& jinja, const std::string& where) {
  if (!jinja) {
    raise(ErrorKind::kUnsupported,
          "'{}': the model has no chat template; --chat-template chooses one of {}", where,
          text::joined_names());
  }
  if (const auto found = ChatTemplate::recognize(*jinja)) return *found;
  raise(ErrorKind::kUnsupported,
        "'{}': the chat template is none of those known; --chat-template chooses one of {}", where,
        text::joined_names());
}

}  // namespace

ChatTemplate ChatTemplate::of_model(const std::filesystem::path& folder) {
  const std::filesystem::path own = folder / "chat_template.jinja";
  const std::filesystem::path config = folder / "tokenizer_config.json";
  if (std::filesystem::exists(own)) return recognize_or_raise(read_text_file(own), own.string());
  if (!std::filesystem::exists(config)) return recognize_or_raise({}, folder.string());
  return of_config(read_text_file(config), config.string());
}

ChatTemplate ChatTemplate::of_config(std::string_view tokenizer_config_json,
                                     const std::string& origin) {
  const auto config = text::parse_json(tokenizer_config_json, origin);
  return recognize_or_raise(text::template_of_config(config, origin), origin);
}

std::string ChatTemplate::name() const {
  return format_->name;
}

std::string ChatTemplate::turn_end() const {
  return format_->turn_end;
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages, std::string_view bos,
                                 std::string_view eos) const {
  const text::ChatFormat& f = *format_;
  const auto around = [&](const char* before, std::string_view content, const char* after) {
    return text::filled(before, bos, eos) + std::string(content) + text::filled(after, bos, eos);
  };
  const auto shown = [&](std::string_view content) {
    return f.trims ? trimmed(content, text::kBlanks) : content;
  };
  const bool in_user_turn = f.system_place == text::SystemPlace::kFirstUser;
  std::string system;
  if (!messages.empty() && messages.front().role == ChatRole::kSystem) {
    const std::string& content = messages.front().content;
    // Inside a user turn the whole of it is trimmed below.
    system = around(f.system_before, in_user_turn ? content : shown(content), f.system_after);
    messages = messages.subspan(1);
  } else if (f.default_system != nullptr) {
    system = around(f.system_before, f.default_system, f.system_after);
  }
  text::check_turns(messages);
  std::string out = text::filled(f.beginning, bos, eos);
  if (!in_user_turn) out += std::exchange(system, {});
  for (const ChatMessage& message : messages) {
    if (message.role == ChatRole::kAssistant) {
      out += around(f.assistant_before, shown(message.content), f.assistant_after);
    } else {
      const std::string content = std::exchange(system, {}) + message.content;
      out += around(f.user_before, shown(content), f.user_after);
    }
  }
  return out + text::filled(f.generation, bos, eos);
}

}  // namespace aquatint
