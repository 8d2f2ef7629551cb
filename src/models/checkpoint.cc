#include "models/checkpoint.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <set>
#include <vector>

#include "base/hash.h"
#include "base/mapped_file.h"
#include "base/progress.h"
#include "base/threads.h"

namespace aquatint {
namespace {

Shape entry_shape(const TensorEntry& entry) {
  if (entry.shape.size() > Shape::kMaxRank) return Shape{};
  return Shape(std::span<const std::int64_t>(entry.shape));
}

ModuleClass module_class(Role role) {
  return role == Role::kEmbedding ? ModuleClass::kEmbedding : ModuleClass::kLinear;
}

bool has_module_class(Role role) {
  return role == Role::kEmbedding || is_linear(role);
}

// True when a 16-bit or 32-bit float at `p` is NaN or infinite: all exponent bits set.
template <typename Bits, Bits kExponent>
bool any_not_finite(const std::byte* p, std::int64_t begin, std::int64_t end) {
  Bits found = 0;  // as wide as the values, so that the loop runs in vectors
  for (std::int64_t i = begin; i < end; ++i) {
    Bits bits;
    std::memcpy(&bits, p + static_cast<std::size_t>(i) * sizeof(Bits), sizeof(Bits));
    const bool bad = static_cast<Bits>(bits & kExponent) == kExponent;
    found = static_cast<Bits>(found | (bad ? 1 : 0));
  }
  return found != 0;
}

bool any_not_finite(const Tensor& tensor, std::int64_t begin, std::int64_t end) {
  switch (tensor.dtype()) {
    case DType::kF32:
      return any_not_finite<std::uint32_t, 0x7f800000u>(tensor.bytes(), begin, end);
    case DType::kBF16:
      return any_not_finite<std::uint16_t, 0x7f80u>(tensor.bytes(), begin, end);
    case DType::kF16:
      return any_not_finite<std::uint16_t, 0x7c00u>(tensor.bytes(), begin, end);
    default:
      return false;
  }
}

}  // namespace

void check_finite(const Tensor& tensor, const std::string& name) {
  std::atomic<bool> found{false};
  parallel_for(tensor.numel(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    if (any_not_finite(tensor, begin, end)) found = true;
  });
  if (found) raise(ErrorKind::kNumeric, "tensor '{}' holds NaN or infinity", name);
}

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  return Checkpoint(ModelFiles::open(path));
}

Checkpoint::Checkpoint(ModelFiles files)
    : files_(std::move(files)),
      quantization_(QuantizationConfig::from(config())),
      architecture_(make_architecture(config())) {
  check_tensors();
}

std::optional<ModuleScheme> Checkpoint::scheme(const TensorSpec& spec) const {
  if (!quantization_ || !has_module_class(spec.role)) return std::nullopt;
  if (spec.role == Role::kHead && head_is_tied()) return std::nullopt;
  return quantization_->scheme_of(spec.module(), module_class(spec.role));
}

bool Checkpoint::head_is_tied() const {
  const TensorSpec* head = architecture_->find("lm_head.weight");
  if (head == nullptr) return true;
  if (tensors().contains(head->module() + ".weight_packed")) return false;
  return std::none_of(head->sources.begin(), head->sources.end(),
                      [&](const TensorSource& source) { return tensors().contains(source.name); });
}

const TensorSource* Checkpoint::find_source(const TensorSpec& spec) const {
  for (const TensorSource& source : spec.sources) {
    const auto entry = tensors().entries().find(source.name);
    if (entry != tensors().entries().end() && entry_shape(entry->second) == source.shape &&
        static_cast<int>(entry->second.shape.size()) == source.shape.rank()) {
      return &source;
    }
  }
  return nullptr;
}

void Checkpoint::check_tensors() const {
  std::set<std::string> known;
  for (const TensorSpec& spec : architecture_->tensors()) {
    if (spec.role == Role::kHead && head_is_tied()) continue;
    if (const auto module_scheme = scheme(spec)) {
      const DType any = DType::kF32;
      for (const TensorInfo& info : compressed_tensor_infos(
               spec.module(), *module_scheme, spec.shape[0], spec.shape[1], any, spec.transposed)) {
        if (!tensors().contains(info.name)) {
          raise(ErrorKind::kCorrupt, "'{}': tensor '{}' is missing ({} of '{}')", folder().string(),
                info.name, module_scheme->weights.str(), spec.module());
        }
        known.insert(info.name);
      }
      continue;
    }
    const TensorSource* source = find_source(spec);
    if (source != nullptr) {
      known.insert(source->name);
      continue;
    }
    const auto entry = tensors().entries().find(spec.name);
    if (entry == tensors().entries().end()) {
      raise(ErrorKind::kCorrupt, "'{}': tensor '{}' {} is missing", folder().string(), spec.name,
            spec.stored_shape().str());
    }
    std::string found;
    for (const std::int64_t dim : entry->second.shape) {
      found += (found.empty() ? "" : ", ") + std::to_string(dim);
    }
    raise(ErrorKind::kCorrupt, "'{}': tensor '{}' has shape [{}]; config.json implies {}",
          folder().string(), spec.name, found, spec.stored_shape().str());
  }
  for (const auto& [name, entry] : tensors().entries()) {
    if (known.count(name) > 0 || architecture_->ignores(name)) continue;
    if (name == "lm_head.weight") continue;  // a copy of the tied embedding
    raise(ErrorKind::kCorrupt, "'{}': tensor '{}' is not part of a {} model with this config.json",
          folder().string(), name, architecture_->name());
  }
}

const TensorSpec& Checkpoint::spec(const std::string& name) const {
  const TensorSpec* found = architecture_->find(name);
  if (found == nullptr) {
    raise(ErrorKind::kNotFound, "'{}': a {} model has no tensor '{}'", folder().string(),
          architecture_->name(), name);
  }
  return *found;
}

Tensor Checkpoint::load_view(const TensorSpec& spec) const {
  const TensorSource* source = find_source(spec);
  if (source == nullptr) {
    raise(ErrorKind::kNotFound, "'{}': tensor '{}' is missing", folder().string(), spec.name);
  }
  Tensor stored = tensors().tensor(source->name);
  if (!is_float(stored.dtype())) {
    raise(ErrorKind::kUnsupported, "'{}': tensor '{}' is {}, a float type is expected",
          folder().string(), source->name, dtype_name(stored.dtype()));
  }
  if (source->row_end >= 0) stored = stored.rows(source->row_begin, source->row_end);
  check_finite(stored, spec.name);
  return spec.transposed ? stored.transposed() : stored;
}

Tensor Checkpoint::tensor(const std::string& name) const {
  return load_view(spec(name));
}

LinearWeights Checkpoint::linear(const std::string& module) const {
  const TensorSpec& weight = spec(module + ".weight");
  LinearWeights result;
  result.module = module;
  if (architecture_->find(module + ".bias") != nullptr) result.bias = tensor(module + ".bias");
  if (weight.role == Role::kHead && head_is_tied()) {
    for (const TensorSpec& candidate : architecture_->tensors()) {
      if (candidate.role != Role::kEmbedding) continue;
      const auto table = embedding(candidate.module());
      result.weight = std::visit([](const auto& t) { return decltype(result.weight)(t); }, table);
    }
    return result;
  }
  if (const auto module_scheme = scheme(weight)) {
    result.weight = from_compressed_tensors(tensors(), module, *module_scheme, weight.transposed);
    result.activations = module_scheme->activations;
    if (is_static(result.activations)) {
      result.input = read_static_scale(tensors(), module, result.activations);
    }
    const auto& matrix = std::get<QuantizedMatrix>(result.weight);
    if (!(matrix.values.shape() == weight.shape)) {
      raise(ErrorKind::kCorrupt, "'{}': '{}' has shape {}; config.json implies {}",
            folder().string(), module, matrix.values.shape().str(), weight.shape.str());
    }
    return result;
  }
  result.weight = load_view(weight);
  return result;
}

std::variant<Tensor, QuantizedMatrix> Checkpoint::embedding(const std::string& module) const {
  const TensorSpec& weight = spec(module + ".weight");
  if (const auto module_scheme = scheme(weight)) {
    return from_compressed_tensors(tensors(), module, *module_scheme);
  }
  return load_view(weight);
}

std::int64_t Checkpoint::stored_bytes(const TensorSpec& spec) const {
  if (spec.role == Role::kHead && head_is_tied()) return 0;
  const auto bytes_of = [&](const std::string& name) {
    const auto entry = tensors().entries().find(name);
    return entry == tensors().entries().end() ? std::int64_t{0}
                                              : static_cast<std::int64_t>(entry->second.nbytes);
  };
  if (const auto module_scheme = scheme(spec)) {
    std::int64_t total = 0;
    for (const TensorInfo& info : compressed_tensor_infos(
             spec.module(), *module_scheme, spec.shape[0], spec.shape[1], DType::kF32)) {
      total += bytes_of(info.name);
    }
    return total;
  }
  const TensorSource* source = find_source(spec);
  if (source == nullptr) return 0;
  return bytes_of(source->name) * spec.shape.numel() /
         std::max<std::int64_t>(1, source->shape.numel());
}

std::int64_t Checkpoint::read_bytes(const TensorSpec& spec) const {
  const std::int64_t stored = stored_bytes(spec);
  if (stored == 0 || scheme(spec)) return stored;
  const auto element = static_cast<std::int64_t>(dtype_size(stored_dtype(spec)));
  return std::max(stored, spec.shape.numel() * element);
}

DType Checkpoint::stored_dtype(const TensorSpec& spec) const {
  const TensorSource* source = find_source(spec);
  if (source == nullptr) return DType::kF32;
  return tensors().dtype(source->name);
}

std::string Checkpoint::stored_name(const TensorSpec& spec) const {
  const TensorSource* source = find_source(spec);
  if (source == nullptr) return dtype_name(DType::kF32);
  const std::string& stored = tensors().entries().at(source->name).dtype_name;
  const auto plain = plain_dtype(stored);
  return plain ? dtype_name(*plain) : stored;
}

void Checkpoint::release(int block) const {
  for (const TensorSpec& spec : architecture_->tensors()) {
    if (spec.block != block) continue;
    for (const TensorSource& source : spec.sources) tensors().release(source.name);
    if (const auto module_scheme = scheme(spec)) {
      for (const TensorInfo& info : compressed_tensor_infos(
               spec.module(), *module_scheme, spec.shape[0], spec.shape[1], DType::kF32)) {
        tensors().release(info.name);
      }
    }
  }
}

// Slices are hashed by all threads, then their hashes in order; what was read does not stay
// resident.
std::string Checkpoint::fingerprint() const {
  constexpr std::size_t kSlice = std::size_t{8} << 20;
  Hasher hasher;
  hasher.update(files_.config_text);
  std::int64_t total = 0;
  for (const auto& file : tensors().files())
    total += static_cast<std::int64_t>(file->bytes().size());
  Progress progress("reading weights", "MiB", total >> 20);
  for (const auto& file : tensors().files()) {
    const auto bytes = file->bytes();
    hasher.update(file->path().filename().string());
    const auto slices = static_cast<std::int64_t>((bytes.size() + kSlice - 1) / kSlice);
    const std::int64_t step = num_threads();
    std::vector<std::string> digests(static_cast<std::size_t>(slices));
    for (std::int64_t first = 0; first < slices; first += step) {
      const std::int64_t count = std::min(step, slices - first);
      parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = first + begin; i < first + end; ++i) {
          const std::size_t offset = static_cast<std::size_t>(i) * kSlice;
          const std::size_t n = std::min(kSlice, bytes.size() - offset);
          Hasher slice;
          slice.update(bytes.data() + offset, n);
          digests[static_cast<std::size_t>(i)] = slice.hex();
          file->release(offset, n);
        }
      });
      progress.advance(count * static_cast<std::int64_t>(kSlice >> 20));
    }
    for (const std::string& digest : digests) hasher.update(digest);
  }
  return hasher.hex();
}

}  // namespace aquatint
