// A GGUF file as a model of Hugging Face's: its metadata as a configuration, and its tensors under
// the names and in the forms that the architectures' tensor tables know. Which architectures, which
// names and what llama.cpp's converters did to the weights: docs/formats/gguf.md.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "formats/gguf_file.h"

namespace aquatint {

// The tensors of a file, renamed. Those that are stored in another form (rows of rotary heads in
// another order, matrices transposed, decays instead of their logarithms) are put back into Hugging
// Face's when they are asked for. One that the file's architecture should not have keeps its name,
// for the tensor table to refuse. Error kUnsupported, naming it, for an architecture that is not
// known.
class GgufTensors : public TensorFiles {
 public:
  explicit GgufTensors(std::shared_ptr<const GgufFile> file);

  DType dtype(const std::string& name) const override;
  Tensor tensor(const std::string& name) const override;

 private:
  // How a stored tensor is made one of Hugging Face's. llama.cpp drops or adds dimensions of one.
  enum class Form {
    kSame,
    kConvolution,     // [channels, taps] stored, [channels, 1, taps] wanted
    kFlat,            // a matrix stored, a vector wanted
    kColumn,          // [n, 1] stored, [n] wanted
    kTransposed,      // [outputs, inputs] stored, [inputs, outputs] wanted
    kQueryRows,       // rows of rotary query heads, pairs side by side
    kKeyRows,         // the same of key heads
    kLogDecay,        // -exp(x) stored, x wanted
    kLogDecayColumn,  // the same of a column
  };
  friend struct GgufNaming;
  struct Source {
    std::string stored;
    Form form = Form::kSame;
  };
  void add(const std::string& name, Source source, const TensorEntry& stored);
  std::int64_t heads_of(Form form) const;

  std::shared_ptr<const GgufFile> file_;
  std::string architecture_;
  std::map<std::string, Source> sources_;  // by Hugging Face's names
};

// config.json for the file. Errors kCorrupt and kUnsupported as GgufMetadata and GgufTensors.
nlohmann::json gguf_config(const GgufFile& file);

}  // namespace aquatint
