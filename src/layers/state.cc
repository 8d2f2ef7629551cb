#include "layers/state.h"

#include <algorithm>

#include "kernels/quantize_rows/quantize_rows.h"
#include "kernels/round_bf16/round_bf16.h"

namespace aquatint {
namespace {

[[noreturn]] void raise_mismatch(const std::string& what) {
  raise(ErrorKind::kCorrupt, "saved state does not fit this model: {}", what);
}

}  // namespace

std::size_t BlockState::nbytes() const {
  std::size_t total = 0;
  for (const auto& [name, tensor] : tensors()) total += tensor.nbytes();
  return total;
}

void row_positions(std::span<const Segment> segments, std::int32_t* positions) {
  for (const Segment& s : segments) {
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      positions[s.first_row + t] = static_cast<std::int32_t>(s.past + t);
    }
  }
}

FixedState::FixedState(std::vector<std::pair<std::string, Shape>> layout, Stream& stream)
    : stream_(&stream) {
  for (auto& [name, shape] : layout) {
    tensors_.emplace_back(std::move(name), Tensor::empty(shape, DType::kF32, stream.device()));
  }
  FixedState::reset();
}

std::unique_ptr<BlockState> FixedState::clone() const {
  auto copy = std::make_unique<FixedState>(*this);
  for (auto& [name, tensor] : copy->tensors_) tensor = tensor.clone();
  return copy;
}

void FixedState::reset() {
  for (auto& [name, tensor] : tensors_) stream_->zero(tensor.mutable_bytes(), tensor.nbytes());
}

void FixedState::assign(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  if (tensors.size() != tensors_.size()) raise_mismatch("another number of tensors");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    auto& [name, mine] = tensors_[i];
    const auto& [other_name, other] = tensors[i];
    if (name != other_name || !(mine.shape() == other.shape()) || other.dtype() != DType::kF32) {
      raise_mismatch(fmt::format("'{}' {} where '{}' {} is expected", other_name,
                                 other.shape().str(), name, mine.shape().str()));
    }
    stream_->copy(mine.mutable_bytes(), other.bytes(), mine.nbytes());
  }
}

constexpr const char* kKvParts[] = {"keys", "values", "key_scales", "value_scales"};

KvCache::KvCache(std::int64_t kv_heads, std::int64_t head_dim, kernels::KvType type, Stream& stream)
    : stream_(&stream), kv_heads_(kv_heads), head_dim_(head_dim), type_(type) {
  AQUATINT_ASSERT(type == kernels::KvType::kF32 || !stream.is_cuda());
}

std::int64_t KvCache::columns(std::size_t part) const {
  const bool scale = part == kKeyScales || part == kValueScales;
  return kv_heads_ * (scale ? 1 : kernels::kv_head_stride(type_, head_dim_));
}

DType KvCache::dtype(std::size_t part) const {
  const bool scale = part == kKeyScales || part == kValueScales;
  if (scale || type_ == kernels::KvType::kF32) return DType::kF32;
  return type_ == kernels::KvType::kBF16 ? DType::kBF16 : DType::kI8;
}

std::size_t KvCache::row_bytes(std::size_t part) const {
  return static_cast<std::size_t>(columns(part)) * dtype_size(dtype(part));
}

std::unique_ptr<BlockState> KvCache::clone() const {
  auto copy = std::make_unique<KvCache>(kv_heads_, head_dim_, type_, *stream_);
  copy->assign(tensors());
  return copy;
}

std::vector<std::pair<std::string, Tensor>> KvCache::tensors() const {
  std::vector<std::pair<std::string, Tensor>> all;
  for (std::size_t part = 0; part < part_count(); ++part) {
    all.emplace_back(kKvParts[part], length_ == 0 ? Tensor::empty({0, columns(part)}, dtype(part))
                                                  : parts_[part].rows(0, length_));
  }
  return all;
}

void KvCache::assign(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  if (tensors.size() != part_count()) {
    raise_mismatch(fmt::format("{} tensors where keys and values in {} are expected",
                               tensors.size(), part_count()));
  }
  const std::int64_t n =
      tensors.front().second.shape().rank() == 2 ? tensors.front().second.dim(0) : std::int64_t{-1};
  for (std::size_t part = 0; part < part_count(); ++part) {
    const auto& [name, tensor] = tensors[part];
    if (name != kKvParts[part] || tensor.dtype() != dtype(part) ||
        !(tensor.shape() == Shape{n, columns(part)})) {
      raise_mismatch(fmt::format("'{}' {} {} where '{}' {} [n, {}] is expected", name,
                                 dtype_name(tensor.dtype()), tensor.shape().str(), kKvParts[part],
                                 dtype_name(dtype(part)), columns(part)));
    }
  }
  length_ = 0;
  reserve(n);
  for (std::size_t part = 0; part < part_count(); ++part) {
    const Tensor& from = tensors[part].second;
    if (n > 0) stream_->copy(parts_[part].mutable_bytes(), from.bytes(), from.nbytes());
  }
  length_ = n;
}

// Makes room for so many positions in all.
void KvCache::reserve(std::int64_t positions) {
  const std::int64_t capacity = parts_[kKeys].defined() ? parts_[kKeys].dim(0) : 0;
  if (positions <= capacity) return;
  const std::int64_t grown = std::max<std::int64_t>({positions, 2 * capacity, 64});
  for (std::size_t part = 0; part < part_count(); ++part) {
    const Tensor larger = Tensor::empty({grown, columns(part)}, dtype(part), stream_->device());
    if (length_ > 0) {
      stream_->copy(larger.mutable_bytes(), parts_[part].bytes(),
                    static_cast<std::size_t>(length_) * row_bytes(part));
    }
    parts_[part] = larger;
  }
}

// Rows [n, kv_heads * head_dim] to the places behind the last position.
bool KvCache::store(const float* rows, std::int64_t n, Part values, Part scales) {
  std::byte* to =
      parts_[values].mutable_bytes() + static_cast<std::size_t>(length_) * row_bytes(values);
  if (type_ == kernels::KvType::kF32) {
    stream_->copy(to, rows, static_cast<std::size_t>(n) * row_bytes(values));
    return true;
  }
  if (type_ == kernels::KvType::kBF16) {
    return kernels::round_bf16(rows, n * columns(values), reinterpret_cast<std::uint16_t*>(to));
  }
  // Each head of a position is a row with a scale of its own; nobody needs the sums.
  std::vector<std::int32_t> sums(static_cast<std::size_t>(n * kv_heads_));
  float* to_scales = parts_[scales].mutable_data<float>() + length_ * kv_heads_;
  return kernels::quantize_rows_int8(rows, n * kv_heads_, head_dim_,
                                     kernels::kv_head_stride(type_, head_dim_), 1,
                                     reinterpret_cast<std::int8_t*>(to), to_scales, sums.data());
}

bool KvCache::append(const float* keys, const float* values, std::int64_t n) {
  reserve(length_ + n);
  if (!store(keys, n, kKeys, kKeyScales) || !store(values, n, kValues, kValueScales)) return false;
  length_ += n;
  return true;
}

}  // namespace aquatint
