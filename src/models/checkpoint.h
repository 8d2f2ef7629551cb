// A model, opened and checked: configuration, architecture, tensors and, when it is quantized, its
// compressed-tensors schemes. Weights are read from the memory-mapped files on demand.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "formats/compressed_tensors.h"
#include "formats/config.h"
#include "models/architecture.h"
#include "models/model_files.h"

namespace aquatint {

class Checkpoint : public WeightSource {
 public:
  // Opens the model (ModelFiles::open) and checks every tensor of the architecture's table:
  // present, of the right shape and type; a tensor the table does not know is an error too
  // (kCorrupt), so nothing is left out silently.
  static Checkpoint open(const std::filesystem::path& path);

  // What the user named: a folder, or one file that holds everything.
  const std::filesystem::path& folder() const { return files_.path; }
  const Config& config() const { return files_.config; }
  // The tokenizer that the weights' file itself holds (ModelFiles::tokenizer).
  std::optional<TokenizerFiles> own_tokenizer() const { return files_.tokenizer(); }
  const Architecture& architecture() const { return *architecture_; }
  std::shared_ptr<const Architecture> shared_architecture() const { return architecture_; }
  const TensorFiles& tensors() const { return *files_.tensors; }
  const std::optional<QuantizationConfig>& quantization() const { return quantization_; }

  Tensor tensor(const std::string& name) const override;
  LinearWeights linear(const std::string& module) const override;
  std::variant<Tensor, QuantizedMatrix> embedding(const std::string& module) const override;

  std::string name() const override { return folder().string(); }
  bool is_quantized() const override { return quantization_.has_value(); }
  // The scheme a module's weight is stored in; empty for floating point.
  std::optional<ModuleScheme> scheme(const TensorSpec& spec) const override;
  bool head_is_tied() const override;
  // Bytes a tensor of the table takes in the files (scales and zero points included); 0 for a tied
  // head.
  std::int64_t stored_bytes(const TensorSpec& spec) const;
  // Bytes it takes once read: more than in the files where those hold fewer bits than any DType.
  std::int64_t read_bytes(const TensorSpec& spec) const override;
  // Element type that a tensor stored in floating point has when read.
  DType stored_dtype(const TensorSpec& spec) const;
  // What it is stored as: the name of that type, or of one that is expanded when read ("Q4_K").
  std::string stored_name(const TensorSpec& spec) const;
  // Lets the kernel take back the mapped pages of a block's tensors (-1: of those outside the
  // blocks) once they have been copied; they are read again from the file if needed.
  void release(int block) const override;
  // A content hash of configuration and weights (reads all of them; shows progress).
  std::string fingerprint() const;

 private:
  explicit Checkpoint(ModelFiles files);
  const TensorSpec& spec(const std::string& name) const;
  // The source of a tensor that this checkpoint has; null when it has none.
  const TensorSource* find_source(const TensorSpec& spec) const;
  Tensor load_view(const TensorSpec& spec) const;
  void check_tensors() const;

  ModelFiles files_;
  std::optional<QuantizationConfig> quantization_;
  std::shared_ptr<const Architecture> architecture_;
};

// Error kNumeric naming `name` when a float tensor holds NaN or infinity.
void check_finite(const Tensor& tensor, const std::string& name);

}  // namespace aquatint
