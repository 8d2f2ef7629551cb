#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"

namespace aquatint {
namespace {

using enum ChatRole;

const std::vector<ChatMessage> kTurns = {{kUser, " Hi "}, {kAssistant, "Yes.\n"}, {kUser, "Go"}};

std::string rendered(const char* name, bool system) {
  std::vector<ChatMessage> messages = kTurns;
  if (system) messages.insert(messages.begin(), {kSystem, "Be brief."});
  return ChatTemplate::named(name).render(messages, "<B>", "<E>");
}

// What the published templates give for these messages under Jinja2 with the settings of
// transformers (qwen2.5: Qwen2.5-7B-Instruct, llama3.1: Llama-3.1-8B-Instruct, llama2:
// Llama-2-7b-chat, zephyr: zephyr-7b-beta).
TEST(ChatTemplate, WritesWhatPublishedTemplatesWrite) {
  const std::string im_turns =
      "<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\nYes.\n<|im_end|>\n"
      "<|im_start|>user\nGo<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(rendered("qwen2.5", false),
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
            "assistant.<|im_end|>\n" +
                im_turns);
  EXPECT_EQ(rendered("qwen2.5", true), "<|im_start|>system\nBe brief.<|im_end|>\n" + im_turns);
  EXPECT_EQ(rendered("chatml", false), im_turns);
  EXPECT_EQ(rendered("chatml", true), rendered("qwen2.5", true));

  const std::string eot_turns =
      "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\nYes.<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nGo<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n";
  const std::string system = "<B><|start_header_id|>system<|end_header_id|>\n\n";
  const std::string dates = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
  EXPECT_EQ(rendered("llama3.1", false), system + dates + "<|eot_id|>" + eot_turns);
  EXPECT_EQ(rendered("llama3.1", true), system + dates + "Be brief.<|eot_id|>" + eot_turns);
  EXPECT_EQ(rendered("llama3", false), "<B>" + eot_turns);
  EXPECT_EQ(rendered("llama3", true), system + "Be brief.<|eot_id|>" + eot_turns);

  EXPECT_EQ(rendered("llama2", false), "<B>[INST] Hi [/INST] Yes. <E><B>[INST] Go [/INST]");
  EXPECT_EQ(rendered("llama2", true),
            "<B>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi [/INST] Yes. <E><B>[INST] Go [/INST]");
  EXPECT_EQ(rendered("mistral", false), "<B>[INST]  Hi  [/INST]Yes.\n<E>[INST] Go [/INST]");
  EXPECT_EQ(rendered("mistral", true),
            "<B>[INST] Be brief.\n\n Hi  [/INST]Yes.\n<E>[INST] Go [/INST]");

  const std::string zephyr =
      "<|user|>\n Hi <E>\n<|assistant|>\nYes.\n<E>\n<|user|>\nGo<E>\n<|assistant|>\n";
  EXPECT_EQ(rendered("zephyr", false), zephyr);
  EXPECT_EQ(rendered("zephyr", true), "<|system|>\nBe brief.<E>\n" + zephyr);
  EXPECT_EQ(rendered("minicpm", false), "<B><用户>Hi<AI>Yes.<用户>Go<AI>");
}

TEST(ChatTemplate, IsRecognizedByWhatItsJinjaWrites) {
  const auto name = [](const char* jinja) {
    const auto found = ChatTemplate::recognize(jinja);
    return found ? found->name() : "";
  };
  EXPECT_EQ(name("{{ '<|im_start|>' + role + content + '<|im_end|>' }}"), "chatml");
  EXPECT_EQ(name("{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>' }}"), "qwen2");
  EXPECT_EQ(name("{{ bos_token }}[INST] <<SYS>> [/INST]"), "llama2");
  EXPECT_EQ(name("{{ bos_token }}[INST] [/INST]"), "mistral");
  EXPECT_EQ(name("{{ '<|start_header_id|>' }} {{ '<|eot_id|>' }}"), "llama3");
  EXPECT_EQ(name("<start_of_turn>user"), "");
}

TEST(ChatTemplate, ComesFromTheModelsFiles) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "chat_template_test";
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* file, const char* content) {
    std::ofstream(folder / file) << content;
  };
  write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  EXPECT_THROW(ChatTemplate::of_model(folder), Error);
  write("tokenizer_config.json", R"({"chat_template": "<|im_start|> <|im_end|>"})");
  EXPECT_EQ(ChatTemplate::of_model(folder).name(), "chatml");
  EXPECT_EQ(ChatTemplate::of_model(folder).turn_end(), "<|im_end|>");
  write("tokenizer_config.json",
        R"({"chat_template": [{"name": "tool_use", "template": "<|im_start|> <|im_end|>"},
                              {"name": "default", "template": "[INST] [/INST]"}]})");
  EXPECT_EQ(ChatTemplate::of_model(folder).name(), "mistral");
  write("tokenizer_config.json", R"({"chat_template": "<start_of_turn>"})");
  EXPECT_THROW(ChatTemplate::of_model(folder), Error);
  write("chat_template.jinja", "<|start_header_id|> <|eot_id|>");
  EXPECT_EQ(ChatTemplate::of_model(folder).name(), "llama3");
  std::filesystem::remove_all(folder);
}

TEST(ChatTemplate, RefusesOtherOrders) {
  const ChatTemplate chatml = ChatTemplate::named("chatml");
  const std::vector<ChatMessage> wrong[] = {{},
                                            {{kSystem, "a"}},
                                            {{kAssistant, "a"}},
                                            {{kUser, "a"}, {kUser, "b"}},
                                            {{kUser, "a"}, {kAssistant, "b"}},
                                            {{kUser, "a"}, {kSystem, "b"}}};
  for (const auto& messages : wrong) EXPECT_THROW(chatml.render(messages, "", ""), Error);
  EXPECT_THROW(ChatTemplate::named("nothing"), Error);
}

}  // namespace
}  // namespace aquatint
