// What the pickle of a PyTorch file says of its tensors: which storages there are, and which part
// of a storage each tensor of the state dict is. Where storages lie is for the container to say
// (torch_parse.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "formats/pickle.h"
#include "formats/tensor_files.h"

namespace aquatint {

// An element type: the name that a pickle has for it, ours, and bytes.
struct TorchElement {
  std::string_view global, name;
  std::int64_t size;
};

// A run of elements that tensors are views of.
struct TorchStorage {
  const TorchElement* type = nullptr;
  std::int64_t numel = 0;
  std::size_t offset = 0;  // in the file
};

using TorchStorages = std::map<std::string, TorchStorage, std::less<>>;  // by key

// Everything that the pickle of a checkpoint may refer to.
std::span<const std::string_view> torch_globals();

// The storages that a pickle refers to, not yet placed. None has more bytes than the file. Error
// kCorrupt, or kUnsupported for references to anything else.
TorchStorages find_torch_storages(const Pickle& pickle, std::size_t file_size,
                                  const std::string& origin);

// The tensors of the state dict in their storages. Errors as parse_torch_file.
std::map<std::string, TensorEntry> read_state_dict(const Pickle& pickle,
                                                   const TorchStorages& storages,
                                                   std::size_t file_size,
                                                   const std::string& origin);

}  // namespace aquatint
