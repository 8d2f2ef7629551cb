// PyTorch checkpoints (`pytorch_model.bin`, `*.pt`): what torch.save writes, a ZIP file of storages
// with a pickle that says which tensors lie in them, and the older form without ZIP. The pickle is
// read as data and nothing in it is run (formats/pickle.h). Layout and rules:
// docs/formats/torch.md.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "formats/tensor_files.h"

namespace aquatint {

// The tensors of one file in memory, checked: each lies inside its storage, and each storage inside
// the file. `origin` is what error messages call the file. They are those of the state dict: the
// file's dict, or, where that has no tensors itself, the dict that it holds under "state_dict",
// "model_state_dict" or "model". Tensors of a dict inside it have both keys in their name, joined
// by a dot; values that are no tensors are left out. Error kCorrupt, or kUnsupported naming what
// the pickle asks for beyond tensors, containers and numbers.
std::map<std::string, TensorEntry> parse_torch_file(std::span<const std::byte> file,
                                                    const std::string& origin);

class TorchFiles : public TensorFiles {
 public:
  // One file.
  static TorchFiles open_file(const std::filesystem::path& path);
  // A model folder: pytorch_model.bin, else pytorch_model.bin.index.json and its shards, else the
  // one file *.pt or *.pth. Error kNotFound, or kUnsupported where there are several.
  static TorchFiles open_folder(const std::filesystem::path& folder);
  // Whether a folder has one of these.
  static bool is_in(const std::filesystem::path& folder);

  // float32 for float64, else as stored.
  DType dtype(const std::string& name) const override;
  // A view of the mapped file, or a new tensor where elements are float64 or not in row-major
  // order.
  Tensor tensor(const std::string& name) const override;
};

}  // namespace aquatint
