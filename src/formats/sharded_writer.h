// Writes the tensors of a model folder over one or several safetensors files, in any order, with
// the index that binds them. An interrupted run can be continued: files already complete are left
// alone, others are reopened.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/safetensors.h"

namespace aquatint {

class ShardedWriter {
 public:
  // Lays out the tensors over shards of at most `max_shard_bytes`, in order.
  ShardedWriter(std::filesystem::path folder, const std::vector<TensorInfo>& tensors,
                std::int64_t max_shard_bytes);
  ~ShardedWriter();

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

}  // namespace aquatint
