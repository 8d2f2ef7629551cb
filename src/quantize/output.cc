#include "quantize/output.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "formats/atomic_file.h"

namespace aquatint {

using nlohmann::json;

ShardedOutput::ShardedOutput(std::filesystem::path folder, const std::vector<TensorInfo>& tensors,
                             std::int64_t max_shard_bytes)
    : folder_(std::move(folder)) {
  std::vector<std::vector<TensorInfo>> layout(1);
  std::int64_t used = 0;
  for (const TensorInfo& info : tensors) {
    const auto bytes =
        info.shape.numel() * static_cast<std::int64_t>(dtype_size(info.dtype));
    if (used > 0 && used + bytes > max_shard_bytes) {
      layout.emplace_back();
      used = 0;
    }
    used += bytes;
    total_bytes_ += bytes;
    shard_of_[info.name] = layout.size() - 1;
    layout.back().push_back(info);
  }
  for (std::size_t i = 0; i < layout.size(); ++i) {
    Shard shard;
    shard.file_name = layout.size() == 1 ? "model.safetensors"
                                         : fmt::format("model-{:05d}-of-{:05d}.safetensors", i + 1,
                                                       layout.size());
    const std::filesystem::path path = folder_ / shard.file_name;
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
      shard.writer = std::make_unique<SafetensorsWriter>(
          path, layout[i], std::map<std::string, std::string>{{"format", "pt"}},
          /*resumable=*/true);
    }
    shards_.push_back(std::move(shard));
  }
}

ShardedOutput::~ShardedOutput() = default;

void ShardedOutput::write(const std::string& name, const Tensor& tensor) {
  Shard& shard = shards_[shard_of_.at(name)];
  AQUATINT_ASSERT(shard.writer != nullptr);
  shard.writer->write(name, tensor);
  shard.touched = true;
}

void ShardedOutput::skip(const std::string& name) {
  Shard& shard = shards_[shard_of_.at(name)];
  if (shard.writer != nullptr) shard.writer->mark_written(name);
}

void ShardedOutput::flush() {
  for (Shard& shard : shards_) {
    if (shard.touched) shard.writer->flush();
    shard.touched = false;
  }
}

void ShardedOutput::finish() {
  for (Shard& shard : shards_) {
    if (shard.writer != nullptr) shard.writer->finish();
    shard.writer.reset();
  }
  if (shards_.size() == 1) return;
  json index;
  index["metadata"]["total_size"] = total_bytes_;
  for (const auto& [name, shard] : shard_of_) index["weight_map"][name] = shards_[shard].file_name;
  write_text_file(folder_ / "model.safetensors.index.json", index.dump(2) + "\n");
}

std::string quantized_config(const Checkpoint& checkpoint, const Recipe& recipe, const Plan& plan,
                             const std::string& fingerprint) {
  std::vector<std::tuple<std::string, ModuleClass, ModuleScheme>> modules;
  std::vector<std::string> ignored;
  for (const TensorPlan& t : plan.tensors) {
    const bool embedding = t.spec->role == Role::kEmbedding;
    if (t.scheme) {
      modules.emplace_back(t.spec->module(),
                           embedding ? ModuleClass::kEmbedding : ModuleClass::kLinear, *t.scheme);
    } else if (is_linear(t.spec->role)) {
      ignored.push_back(t.spec->module());
    }
  }
  // A head that stays tied is no tensor of the plan, but loaders see a linear module.
  if (checkpoint.head_is_tied() && !plan.unties_head) ignored.emplace_back("lm_head");

  json config = checkpoint.config().json();
  config["quantization_config"] = make_quantization_config(modules, ignored);
  config["tie_word_embeddings"] = checkpoint.head_is_tied() && !plan.unties_head;
  config["aquatint"] = {{"recipe", recipe.name}, {"fingerprint", fingerprint}};
  return config.dump(2) + "\n";
}

void copy_model_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  constexpr const char* kFiles[] = {"tokenizer.json",          "tokenizer_config.json",
                                    "tokenizer.model",         "special_tokens_map.json",
                                    "added_tokens.json",       "vocab.json",
                                    "merges.txt",              "generation_config.json",
                                    "chat_template.jinja",     "LICENSE"};
  for (const char* name : kFiles) {
    std::error_code error;
    if (!std::filesystem::exists(from / name, error)) continue;
    std::filesystem::copy_file(from / name, to / name,
                               std::filesystem::copy_options::overwrite_existing, error);
    if (error) raise(ErrorKind::kIo, "'{}': {}", (to / name).string(), error.message());
    // Sources may be read-only; what we write belongs to the user.
    std::filesystem::permissions(to / name, std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add, error);
    sync_path(to / name);
  }
}

}  // namespace aquatint
