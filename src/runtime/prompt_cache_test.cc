// Prompt caches with the default model: what is saved and loaded goes on exactly as if it had never
// been away, and files that do not fit are refused.
#include "runtime/prompt_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <numeric>

#include "base/error.h"
#include "base/threads.h"
#include "formats/safetensors.h"
#include "testing/shared_data.h"

namespace aquatint {
namespace {

class PromptCache : public ::testing::Test {
 protected:
  PromptCache()
      : model_(Model::load(Checkpoint::open(testing::source_dir() / "assets/models/gla-demo"), {})),
        path_(std::filesystem::path(::testing::TempDir()) /
              fmt::format("prompt_cache_{}.safetensors", ::getpid())),
        prompt_(20) {
    set_num_threads(1);  // tests run side by side
    std::iota(prompt_.begin(), prompt_.end(), 3);
  }
  ~PromptCache() override { std::filesystem::remove(path_); }

  void save() {
    SequenceState state = model_.new_state();
    model_.run(prompt_, state);
    save_prompt_cache(path_, "a model", prompt_, state);
  }
  std::string message_of_load(const std::string& model_id = "a model") {
    try {
      load_prompt_cache(path_, model_id, model_);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  Model model_;
  std::filesystem::path path_;
  std::vector<std::int32_t> prompt_;
};

TEST_F(PromptCache, GoesOnAsIfNeverAway) {
  save();
  const std::vector<std::int32_t> more = {77, 5, 900};
  SequenceState state = model_.new_state();
  model_.run(prompt_, state);
  const auto logits = model_.run(more, state);
  const std::vector<float> expected(logits.begin(), logits.end());

  auto cached = load_prompt_cache(path_, "a model", model_);
  ASSERT_TRUE(cached);
  EXPECT_EQ(cached->tokens, prompt_);
  EXPECT_EQ(cached->state.length(), 20);
  const auto resumed = model_.run(more, cached->state);
  EXPECT_EQ(std::vector<float>(resumed.begin(), resumed.end()), expected);
}

TEST_F(PromptCache, NoFileIsNoCache) {
  EXPECT_FALSE(load_prompt_cache(path_, "a model", model_));
}

TEST_F(PromptCache, RefusesWhatDoesNotFit) {
  save();
  EXPECT_NE(message_of_load("another model").find("another model"), std::string::npos);

  const auto size = std::filesystem::file_size(path_);
  std::filesystem::resize_file(path_, size - 1);
  EXPECT_NE(message_of_load(), "");

  write_safetensors(path_, {{"tokens", Tensor::empty({1}, DType::kI32)}});
  EXPECT_NE(message_of_load().find("not a prompt cache"), std::string::npos);
}

TEST_F(PromptCache, RefusesTokensAndStatesThatAreNotTheModels) {
  const auto write = [&](std::int32_t token, bool all_states) {
    std::vector<std::pair<std::string, Tensor>> tensors;
    const Tensor tokens = Tensor::empty({1}, DType::kI32);
    *tokens.mutable_data<std::int32_t>() = token;
    tensors.emplace_back("tokens", tokens);
    for (const auto& state : model_.new_state().tensors()) tensors.push_back(state);
    if (!all_states) tensors.pop_back();
    std::vector<TensorInfo> infos;
    for (const auto& [name, tensor] : tensors) {
      infos.push_back({name, tensor.dtype(), tensor.shape()});
    }
    SafetensorsWriter writer(path_, infos,
                             {{"format", "aquatint-prompt-cache-1"}, {"model", "a model"}});
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
    writer.finish();
  };
  write(5, true);
  EXPECT_EQ(message_of_load(), "");
  write(100000, true);
  EXPECT_NE(message_of_load().find("outside the vocabulary"), std::string::npos);
  write(5, false);
  EXPECT_NE(message_of_load().find("is missing"), std::string::npos);
}

}  // namespace
}  // namespace aquatint
