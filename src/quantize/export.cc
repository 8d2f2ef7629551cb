#include "quantize/export.h"

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/hash.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/threads.h"
#include "formats/atomic_file.h"
#include "formats/json_text.h"
#include "formats/sharded_writer.h"
#include "quantize/journal.h"
#include "quantize/output.h"
#include "quantize/working_folder.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;

// The largest finite value, and the least that rounds to infinity.
struct FloatRange {
  float largest, overflow;
};

FloatRange range_of(DType dtype) {
  constexpr float kF16Largest = 65504.0f, kF16Overflow = 65520.0f;
  constexpr std::uint16_t kBf16Largest = 0x7f7f;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (dtype == DType::kF16) return {kF16Largest, kF16Overflow};
  if (dtype == DType::kBF16) {
    // Half a step above the largest: the tie goes to the even neighbour, which is infinity.
    const float largest = bf16_to_f32(kBf16Largest);
    return {largest, std::bit_cast<float>(std::bit_cast<std::uint32_t>(largest) + 0x8000u)};
  }
  return {std::numeric_limits<float>::max(), kInfinity};
}

// The tensor in floating point, as stored or dequantized.
Tensor float_tensor(const Checkpoint& checkpoint, const TensorSpec& spec) {
  if (!checkpoint.scheme(spec)) return checkpoint.tensor(spec.name);
  if (spec.role == Role::kEmbedding) {
    return dequantize(std::get<QuantizedMatrix>(checkpoint.embedding(spec.module())));
  }
  return dequantize(std::get<QuantizedMatrix>(checkpoint.linear(spec.module()).weight));
}

// Tensors that the copy holds: all but a head that is the embedding.
std::vector<const TensorSpec*> exported_tensors(const Checkpoint& checkpoint) {
  std::vector<const TensorSpec*> specs;
  for (const TensorSpec& spec : checkpoint.architecture().tensors()) {
    if (spec.role != Role::kHead || !checkpoint.head_is_tied()) specs.push_back(&spec);
  }
  return specs;
}

// What tells runs apart that write to the same folder: the model's configuration and the type. An
// unfinished run is not continued, so weights need not be hashed.
std::string run_fingerprint(const Checkpoint& checkpoint, DType dtype) {
  Hasher hasher;
  hasher.update("export");
  hasher.update(fs::absolute(checkpoint.folder()).string());
  hasher.update(checkpoint.config().json().dump());
  hasher.update(dtype_name(dtype));
  return hasher.hex();
}

// Drops what an unfinished run wrote; the journal stays, as it holds the lock.
void start_over(const WorkingFolder& folder) {
  std::error_code error;
  std::vector<fs::path> old;
  for (fs::directory_iterator it(folder.path(), error), end; !error && it != end;
       it.increment(error)) {
    if (it->path() != folder.journal()) old.push_back(it->path());
  }
  for (const fs::path& path : old) fs::remove_all(path, error);
}

void write_tensors(const Checkpoint& checkpoint, const ExportOptions& options,
                   const WorkingFolder& folder, ExportResult& result) {
  const std::vector<const TensorSpec*> specs = exported_tensors(checkpoint);
  std::vector<TensorInfo> infos;
  for (const TensorSpec* spec : specs) {
    infos.push_back({spec->name, options.dtype, spec->stored_shape()});
    result.bytes_before += checkpoint.stored_bytes(*spec);
    result.bytes_after +=
        spec->shape.numel() * static_cast<std::int64_t>(dtype_size(options.dtype));
  }
  const std::int64_t free = free_disk_bytes(folder.final_path());
  if (free >= 0 && result.bytes_after > free) {
    raise(ErrorKind::kOutOfMemory, "'{}': the copy needs {} of disk; {} are free",
          folder.final_path().string(), format_bytes(result.bytes_after), format_bytes(free));
  }
  ShardedWriter output(folder.path(), infos, options.max_shard_bytes);
  result.shards = output.shards();
  Progress progress("exporting", "tensors", static_cast<std::int64_t>(specs.size()));
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const TensorSpec& spec = *specs[i];
    const Tensor tensor = convert_checked(float_tensor(checkpoint, spec), options.dtype, spec.name,
                                          options.clamp ? &result.clamped : nullptr);
    output.write(spec.name, spec.transposed ? tensor.transposed() : tensor);
    const bool last_of_block = i + 1 == specs.size() || specs[i + 1]->block != spec.block;
    if (last_of_block) checkpoint.release(spec.block);
    progress.advance(1);
  }
  output.finish();
}

}  // namespace

Tensor convert_checked(const Tensor& tensor, DType dtype, const std::string& name,
                       std::int64_t* clamped) {
  if (tensor.dtype() == dtype) return tensor;
  const FloatRange range = range_of(dtype);
  const Tensor result = Tensor::empty(tensor.shape(), dtype);
  const std::size_t from = dtype_size(tensor.dtype()), to = dtype_size(dtype);
  constexpr std::int64_t kStep = 1 << 14;  // elements converted at a time
  std::atomic<std::int64_t> beyond{0};
  std::atomic<float> example{0};
  parallel_for(tensor.numel(), kStep, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> values(static_cast<std::size_t>(std::min(kStep, end - begin)));
    for (std::int64_t i = begin; i < end; i += kStep) {
      const auto at = static_cast<std::size_t>(i);
      const auto n = static_cast<std::size_t>(std::min(kStep, end - i));
      convert_to_f32(tensor.dtype(), tensor.bytes() + at * from, n, values.data());
      std::int64_t found = 0;
      for (std::size_t k = 0; k < n; ++k) {
        if (std::abs(values[k]) < range.overflow) continue;
        if (found++ == 0) example = values[k];
        values[k] = std::copysign(range.largest, values[k]);
      }
      beyond += found;
      convert_from_f32(values.data(), n, dtype, result.mutable_bytes() + at * to);
    }
  });
  if (beyond > 0 && clamped == nullptr) {
    raise(ErrorKind::kNumeric,
          "tensor '{}': {} of its values do not fit into {}, as {}; the largest is {} (--clamp "
          "takes that, other types reach farther)",
          name, beyond.load(), dtype_name(dtype), example.load(), range.largest);
  }
  if (clamped != nullptr) *clamped += beyond;
  return result;
}

std::string exported_config(const Checkpoint& checkpoint, DType dtype) {
  nlohmann::json config = checkpoint.config().json();
  config.erase("quantization_config");
  config.erase("aquatint");
  config["torch_dtype"] = dtype_name(dtype);
  if (config.contains("dtype")) config["dtype"] = dtype_name(dtype);
  config["tie_word_embeddings"] = checkpoint.head_is_tied();
  return json_text(config, checkpoint.config().bare_nonfinite());
}

ExportResult export_model(const Checkpoint& checkpoint, const ExportOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const WorkingFolder folder(options.output);
  folder.check_source(checkpoint.folder());
  folder.check_place();
  const std::string fingerprint = run_fingerprint(checkpoint, options.dtype);
  // A run that was killed after its output had its name; with overwrite it is made again.
  folder.finish_publishing(fingerprint);
  folder.check(options.overwrite);
  folder.create();
  // Held, and with it the lock, until the folder has its final name.
  const Journal journal(folder.journal(), fingerprint);
  folder.check(options.overwrite);
  ExportResult result;
  try {
    start_over(folder);
    write_tensors(checkpoint, options, folder, result);
    copy_model_files(checkpoint, folder.path());
    write_text_file(folder.path() / "config.json", exported_config(checkpoint, options.dtype));
    folder.publish(options.overwrite);
  } catch (const Error&) {
    folder.remove();
    throw;
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace aquatint
