// Writes a copy of a model in one float type, under the names of the tensor table, which are those
// of Hugging Face: other forms of a checkpoint are split, and quantized weights become the floats
// that they stand for. Tensors stream from the mapped files to the shards, so a model may be larger
// than memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "models/checkpoint.h"

namespace aquatint {

struct ExportOptions {
  std::filesystem::path output;
  DType dtype = DType::kF32;  // kF32, kF16 or kBF16
  std::int64_t max_shard_bytes = std::int64_t{5} << 30;
  bool overwrite = false;  // replace an existing output folder
  // Make values beyond the largest of the type that value, instead of an error.
  bool clamp = false;
};

struct ExportResult {
  std::int64_t bytes_before = 0, bytes_after = 0;  // of tensors
  std::int64_t clamped = 0;                        // values
  int shards = 0;
  double seconds = 0;
};

// Writes config.json, safetensors and the tokenizer's files. The folder appears complete under its
// name; an interrupted run leaves "<output>.partial", which the next one starts over. Error
// kInvalidArgument when the output exists and overwrite is not set, or is the model itself;
// kNumeric naming the tensor and value that do not fit into the type; kOutOfMemory when the disk
// has no room.
ExportResult export_model(const Checkpoint& checkpoint, const ExportOptions& options);

// The elements as `dtype`, rounded to nearest even. Finite values beyond its range are clamped and
// added to `clamped`, or, if that is null, error kNumeric naming `name` and the first of them.
Tensor convert_checked(const Tensor& tensor, DType dtype, const std::string& name,
                       std::int64_t* clamped);

// config.json of the copy: the original's without quantization and with the element type under
// torch_dtype (and dtype, which newer configurations have).
std::string exported_config(const Checkpoint& checkpoint, DType dtype);

}  // namespace aquatint
