#include "formats/sharded_writer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "formats/atomic_file.h"

namespace aquatint {

using nlohmann::json;

ShardedWriter::ShardedWriter(std::filesystem::path folder, const std::vector<TensorInfo>& tensors,
                             std::int64_t max_shard_bytes)
    : folder_(std::move(folder)) {
  std::vector<std::vector<TensorInfo>> layout(1);
  std::int64_t used = 0;
  for (const TensorInfo& info : tensors) {
    const auto bytes = info.shape.numel() * static_cast<std::int64_t>(dtype_size(info.dtype));
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
    shard.file_name = layout.size() == 1
                          ? "model.safetensors"
                          : fmt::format("model-{:05d}-of-{:05d}.safetensors", i + 1, layout.size());
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

ShardedWriter::~ShardedWriter() = default;

void ShardedWriter::write(const std::string& name, const Tensor& tensor) {
  Shard& shard = shards_[shard_of_.at(name)];
  AQUATINT_ASSERT(shard.writer != nullptr);
  shard.writer->write(name, tensor);
  shard.touched = true;
}

void ShardedWriter::skip(const std::string& name) {
  Shard& shard = shards_[shard_of_.at(name)];
  if (shard.writer != nullptr) shard.writer->mark_written(name);
}

void ShardedWriter::flush() {
  for (Shard& shard : shards_) {
    if (shard.touched) shard.writer->flush();
    shard.touched = false;
  }
}

void ShardedWriter::finish() {
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

}  // namespace aquatint
