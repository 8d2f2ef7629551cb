// The output side of the pipeline: which tensor goes to which shard, the shard files while they are being
// written, and the small files of a model folder (config.json, index, tokenizer).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "quantize/plan.h"

namespace aquatint {

class ShardedOutput {
 public:
  // Lays out the tensors over shards of at most `max_shard_bytes`, in order.
  ShardedOutput(std::filesystem::path folder, const std::vector<TensorInfo>& tensors,
                std::int64_t max_shard_bytes);
  ~ShardedOutput();

  void write(const std::string& name, const Tensor& tensor);
  // Notes that an earlier run wrote the tensor.
  void skip(const std::string& name);
  // Flushes everything written so far to disk.
  void flush();
  // Completes the shards and writes the index when there is more than one.
  void finish();
  int shards() const { return static_cast<int>(shards_.size()); }

 private:
  struct Shard {
    std::string file_name;
    std::unique_ptr<SafetensorsWriter> writer;  // null when an earlier run finished the file
    bool touched = false;
  };
  std::filesystem::path folder_;
  std::vector<Shard> shards_;
  std::map<std::string, std::size_t> shard_of_;
  std::int64_t total_bytes_ = 0;
};

// config.json of the quantized model: the original's with quantization_config, the aquatint section, and the
// head untied where the plan unties it.
std::string quantized_config(const Checkpoint& checkpoint, const Recipe& recipe, const Plan& plan,
                             const std::string& fingerprint);

// Copies tokenizer and generation files of a model folder. Error kIo.
void copy_model_files(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace aquatint
