#include "formats/torch_state_dict.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/printable.h"

// Names and the order of arguments are those of torch/serialization.py and torch/_utils.py.
namespace aquatint {
namespace {

constexpr std::string_view kOrderedDict = "collections.OrderedDict";
constexpr std::string_view kParameter = "torch._utils._rebuild_parameter";
constexpr std::string_view kTensor = "torch._utils._rebuild_tensor";
constexpr std::string_view kTensorV2 = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kTensorV3 = "torch._utils._rebuild_tensor_v3";
constexpr std::string_view kSize = "torch.Size";
constexpr std::string_view kUntyped = "torch.storage.UntypedStorage";

constexpr std::array<TorchElement, 10> kStorages{{
    {"torch.FloatStorage", "F32", 4},
    {"torch.DoubleStorage", "F64", 8},
    {"torch.HalfStorage", "F16", 2},
    {"torch.BFloat16Storage", "BF16", 2},
    {"torch.LongStorage", "I64", 8},
    {"torch.IntStorage", "I32", 4},
    {"torch.ShortStorage", "I16", 2},
    {"torch.CharStorage", "I8", 1},
    {"torch.ByteStorage", "U8", 1},
    {"torch.BoolStorage", "BOOL", 1},
}};

// Element types of tensors in untyped storages.
constexpr std::array<TorchElement, 15> kElements{{
    {"torch.float32", "F32", 4},
    {"torch.float64", "F64", 8},
    {"torch.float16", "F16", 2},
    {"torch.bfloat16", "BF16", 2},
    {"torch.int64", "I64", 8},
    {"torch.int32", "I32", 4},
    {"torch.int16", "I16", 2},
    {"torch.int8", "I8", 1},
    {"torch.uint8", "U8", 1},
    {"torch.bool", "BOOL", 1},
    {"torch.uint16", "U16", 2},
    {"torch.uint32", "U32", 4},
    {"torch.uint64", "U64", 8},
    {"torch.float8_e4m3fn", "F8_E4M3", 1},
    {"torch.float8_e5m2", "F8_E5M2", 1},
}};

constexpr TorchElement kBytes{kUntyped, "", 1};

template <std::size_t kCount>
const TorchElement* find_type(const std::array<TorchElement, kCount>& types,
                              std::string_view name) {
  const auto* found = std::find_if(types.begin(), types.end(),
                                   [&](const TorchElement& type) { return type.global == name; });
  return found == types.end() ? nullptr : &*found;
}

using Items = std::span<const PickleIndex>;

class StateDict {
 public:
  StateDict(const Pickle& pickle, std::size_t file_size, const std::string& origin)
      : pickle_(pickle), file_size_(file_size), origin_(origin) {}

  // The storages that the pickle refers to, not yet placed.
  TorchStorages storages() const {
    TorchStorages found;
    for (const PickleValue& value : pickle_.values) {
      if (value.kind != PickleKind::kPersistent) continue;
      const auto [key, storage] = read_storage(value);
      const auto [known, is_new] = found.emplace(key, storage);
      if (!is_new && (known->second.type != storage.type || known->second.numel != storage.numel)) {
        corrupt("storage '{}' is described in two ways", printable(key));
      }
    }
    return found;
  }

  std::map<std::string, TensorEntry> tensors(const TorchStorages& placed) {
    storages_ = &placed;
    const PickleIndex root = state_dict();
    visits_ = 0;
    collect(root, "", 0);
    return std::move(tensors_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void corrupt(fmt::format_string<Args...> text, Args&&... args) const {
    raise(ErrorKind::kCorrupt, "'{}': {}", origin_, fmt::format(text, std::forward<Args>(args)...));
  }

  bool calls(PickleIndex index, std::string_view global) const {
    const PickleValue& value = pickle_[index];
    return value.kind == PickleKind::kCall && pickle_[value.items[0]].text == global;
  }

  bool is_dict(PickleIndex index) const {
    return pickle_[index].kind == PickleKind::kDict || calls(index, kOrderedDict);
  }

  bool is_tensor(PickleIndex index) const {
    return calls(index, kParameter) || calls(index, kTensor) || calls(index, kTensorV2) ||
           calls(index, kTensorV3);
  }

  // Keys and values in turn. OrderedDict is called without arguments and filled afterwards.
  Items pairs(PickleIndex dict) const {
    const PickleValue& value = pickle_[dict];
    if (value.kind == PickleKind::kDict) return value.items;
    if (!pickle_[value.items[1]].items.empty()) {
      raise(ErrorKind::kUnsupported, "'{}': an OrderedDict with arguments is not supported",
            origin_);
    }
    return Items(value.items).subspan(2);
  }

  // The dict that names the tensors: see parse_torch_file.
  PickleIndex state_dict() const {
    if (!is_dict(pickle_.root)) {
      raise(ErrorKind::kUnsupported,
            "'{}': holds no state dict, which is a dict from names to tensors; save "
            "model.state_dict()",
            origin_);
    }
    const Items items = pairs(pickle_.root);
    for (std::size_t i = 1; i < items.size(); i += 2) {
      if (is_tensor(items[i])) return pickle_.root;
    }
    for (const std::string_view wrapper : {"state_dict", "model_state_dict", "model"}) {
      for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
        const PickleValue& key = pickle_[items[i]];
        const bool named = key.kind == PickleKind::kString && key.text == wrapper;
        if (named && is_dict(items[i + 1])) return items[i + 1];
      }
    }
    return pickle_.root;
  }

  std::string key_text(PickleIndex index) const {
    const PickleValue& key = pickle_[index];
    if (key.kind == PickleKind::kString) return std::string(key.text);
    if (key.kind == PickleKind::kInt) return std::to_string(key.integer);
    corrupt("a key of its state dict is neither text nor a number");
  }

  // A dict may hold itself, or the same dict many times: the number of elements looked at is
  // bounded by that of values in the pickle.
  void collect(PickleIndex dict, const std::string& prefix, int depth) {
    constexpr int kDeepest = 16;
    const Items items = pairs(dict);
    visits_ += items.size() + 1;
    if (depth > kDeepest || visits_ > 2 * pickle_.values.size() + 2) {
      corrupt("dicts inside dicts without end");
    }
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      const bool tensor = is_tensor(items[i + 1]);
      if (!tensor && !is_dict(items[i + 1])) continue;
      const std::string name = prefix + key_text(items[i]);
      check_name(name);
      if (!tensor) {
        collect(items[i + 1], name + ".", depth + 1);
        continue;
      }
      if (!tensors_.emplace(name, read_tensor(items[i + 1], name)).second) {
        corrupt("has two tensors '{}'", printable(name));
      }
    }
  }

  void check_name(const std::string& name) const {
    constexpr std::size_t kLongest = 1024;
    if (name.size() > kLongest) corrupt("a tensor's name has {} bytes", name.size());
  }

  // --- storages ------------------------------------------------------------------------------

  // ('storage', type, key, location, elements), and in the form without ZIP a view of another
  // storage, which PyTorch has not written since 0.4: None.
  std::pair<std::string, TorchStorage> read_storage(const PickleValue& value) const {
    const PickleValue& id = pickle_[value.items[0]];
    const Items items(id.items);
    if (id.kind != PickleKind::kTuple || items.size() < 5 || items.size() > 6 ||
        pickle_[items[0]].kind != PickleKind::kString || pickle_[items[0]].text != "storage") {
      raise(ErrorKind::kUnsupported,
            "'{}': its pickle refers to something outside itself that is no storage of a tensor",
            origin_);
    }
    const PickleValue& type = pickle_[items[1]];
    const PickleValue& key = pickle_[items[2]];
    const PickleValue& numel = pickle_[items[4]];
    TorchStorage storage;
    storage.type = type.kind != PickleKind::kGlobal ? nullptr
                   : type.text == kUntyped          ? &kBytes
                                                    : find_type(kStorages, type.text);
    if (storage.type == nullptr || key.kind != PickleKind::kString ||
        numel.kind != PickleKind::kInt) {
      corrupt("the description of a storage is not (type, key, location, elements)");
    }
    if (items.size() == 6 && pickle_[items[5]].kind != PickleKind::kNone) {
      raise(ErrorKind::kUnsupported, "'{}': storage '{}' is a view of another, as old files have",
            origin_, printable(key.text));
    }
    storage.numel = numel.integer;
    const auto most = static_cast<std::int64_t>(file_size_) / storage.type->size;
    if (storage.numel < 0 || storage.numel > most) {
      corrupt("storage '{}' has {} elements of {} bytes in a file of {}", printable(key.text),
              storage.numel, storage.type->size, file_size_);
    }
    return {std::string(key.text), storage};
  }

  // --- tensors -------------------------------------------------------------------------------

  Items arguments(PickleIndex call) const { return pickle_[pickle_[call].items[1]].items; }

  TensorEntry read_tensor(PickleIndex index, const std::string& name) const {
    // A parameter is its tensor; one of a parameter of a parameter … is none.
    if (calls(index, kParameter)) {
      const Items items = arguments(index);
      if (items.empty() || calls(items[0], kParameter) || !is_tensor(items[0])) {
        corrupt("parameter '{}' is no tensor", printable(name));
      }
      index = items[0];
    }
    const Items items = arguments(index);
    if (items.size() < 4 || pickle_[items[0]].kind != PickleKind::kPersistent) {
      corrupt("tensor '{}' is not (storage, offset, size, strides)", printable(name));
    }
    const auto key = read_storage(pickle_[items[0]]).first;
    const TorchStorage& storage = storages_->find(key)->second;
    const TorchElement* type = storage.type;
    std::int64_t available = storage.numel;
    if (type == &kBytes) {
      type = untyped_element(index, items, name);
      available /= type->size;
    }
    TensorEntry entry;
    entry.dtype_name = type->name;
    entry.shape = integers(items[2], "size", name);
    entry.strides = integers(items[3], "strides", name);
    place(entry, integer(items[1], "offset", name), available, *type, name);
    entry.offset += storage.offset;
    return entry;
  }

  const TorchElement* untyped_element(PickleIndex call, Items items,
                                      const std::string& name) const {
    constexpr std::size_t kArgument = 6;
    const TorchElement* type = nullptr;
    if (calls(call, kTensorV3) && items.size() > kArgument) {
      const PickleValue& global = pickle_[items[kArgument]];
      if (global.kind == PickleKind::kGlobal) type = find_type(kElements, global.text);
    }
    if (type == nullptr) corrupt("tensor '{}' has no element type", printable(name));
    return type;
  }

  std::int64_t integer(PickleIndex index, const char* what, const std::string& name) const {
    const PickleValue& value = pickle_[index];
    if (value.kind != PickleKind::kInt || value.integer < 0) {
      corrupt("tensor '{}': its {} must be of whole numbers from 0{}", printable(name), what,
              value.kind == PickleKind::kInt ? fmt::format(", not {}", value.integer) : "");
    }
    return value.integer;
  }

  std::vector<std::int64_t> integers(PickleIndex index, const char* what,
                                     const std::string& name) const {
    if (calls(index, kSize) && !arguments(index).empty()) index = arguments(index)[0];
    const PickleValue& list = pickle_[index];
    constexpr std::size_t kMostDimensions = 64;  // as many as PyTorch has
    if ((list.kind != PickleKind::kTuple && list.kind != PickleKind::kList) ||
        list.items.size() > kMostDimensions) {
      corrupt("tensor '{}': its {} are no list of numbers", printable(name), what);
    }
    std::vector<std::int64_t> out;
    for (const PickleIndex item : list.items) out.push_back(integer(item, what, name));
    return out;
  }

  // Puts the tensor at element `first` of a storage of `available` elements, and forgets strides
  // that are those of row-major order.
  void place(TensorEntry& entry, std::int64_t first, std::int64_t available,
             const TorchElement& type, const std::string& name) const {
    if (entry.shape.size() != entry.strides.size()) {
      corrupt("tensor '{}' has {} dimensions and {} strides", printable(name), entry.shape.size(),
              entry.strides.size());
    }
    std::int64_t numel = 1, last = first;  // of the elements, the highest
    bool in_order = true, fits = first <= available;
    const bool empty = std::count(entry.shape.begin(), entry.shape.end(), 0) > 0;
    std::int64_t product = 1;  // must not overflow in whatever order it is taken
    for (const std::int64_t size : entry.shape) {
      if (size != 0 && __builtin_mul_overflow(product, size, &product)) {
        corrupt("tensor '{}' has more elements than can be counted", printable(name));
      }
    }
    for (std::size_t i = entry.shape.size(); !empty && fits && i-- > 0;) {
      const std::int64_t size = entry.shape[i], stride = entry.strides[i];
      if (size > 1 && stride != numel) in_order = false;
      std::int64_t reach = 0;
      fits = !__builtin_mul_overflow(size - 1, stride, &reach) &&
             !__builtin_add_overflow(last, reach, &last) &&
             !__builtin_mul_overflow(numel, size, &numel) && last < available;
    }
    if (!empty && (!fits || first >= available)) {
      corrupt("tensor '{}' reaches past the {} elements of its storage", printable(name),
              available);
    }
    if (!empty && numel > available) {  // would take more memory than the file has bytes
      raise(ErrorKind::kUnsupported, "'{}': tensor '{}' repeats the {} elements of its storage",
            origin_, printable(name), available);
    }
    const auto size = static_cast<std::size_t>(type.size);
    entry.offset = empty ? 0 : static_cast<std::size_t>(first) * size;
    entry.nbytes = empty ? 0 : static_cast<std::size_t>(last - first + 1) * size;
    if (in_order) entry.strides.clear();
  }

  const Pickle& pickle_;
  std::size_t file_size_;
  const std::string& origin_;
  const TorchStorages* storages_ = nullptr;
  std::size_t visits_ = 0;
  std::map<std::string, TensorEntry> tensors_;
};

}  // namespace

std::span<const std::string_view> torch_globals() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all{kOrderedDict, kParameter, kTensor, kTensorV2,
                                      kTensorV3,    kSize,      kUntyped};
    for (const TorchElement& type : kStorages) all.push_back(type.global);
    for (const TorchElement& type : kElements) all.push_back(type.global);
    return all;
  }();
  return names;
}

TorchStorages find_torch_storages(const Pickle& pickle, std::size_t file_size,
                                  const std::string& origin) {
  return StateDict(pickle, file_size, origin).storages();
}

std::map<std::string, TensorEntry> read_state_dict(const Pickle& pickle,
                                                   const TorchStorages& storages,
                                                   std::size_t file_size,
                                                   const std::string& origin) {
  return StateDict(pickle, file_size, origin).tensors(storages);
}

}  // namespace aquatint
