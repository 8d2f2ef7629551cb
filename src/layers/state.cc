#include "layers/state.h"

#include <algorithm>

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

std::unique_ptr<BlockState> KvCache::clone() const {
  auto copy = std::make_unique<KvCache>(columns_, *stream_);
  if (length_ > 0) copy->append(keys(), values(), length_);
  return copy;
}

std::vector<std::pair<std::string, Tensor>> KvCache::tensors() const {
  if (length_ == 0) {
    const Tensor none = Tensor::empty({0, columns_}, DType::kF32);
    return {{"keys", none}, {"values", none}};
  }
  return {{"keys", keys_.rows(0, length_)}, {"values", values_.rows(0, length_)}};
}

void KvCache::assign(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  if (tensors.size() != 2 || tensors[0].first != "keys" || tensors[1].first != "values") {
    raise_mismatch("keys and values are expected");
  }
  const Tensor& keys = tensors[0].second;
  const Tensor& values = tensors[1].second;
  const bool f32 = keys.dtype() == DType::kF32 && values.dtype() == DType::kF32;
  if (!f32 || keys.shape().rank() != 2 || keys.dim(1) != columns_ ||
      !(keys.shape() == values.shape())) {
    raise_mismatch(fmt::format("keys {} and values {} where float32 [n, {}] is expected",
                               keys.shape().str(), values.shape().str(), columns_));
  }
  length_ = 0;
  append(keys.data<float>(), values.data<float>(), keys.dim(0));
}

void KvCache::append(const float* keys, const float* values, std::int64_t n) {
  const std::int64_t capacity = keys_.defined() ? keys_.dim(0) : 0;
  const auto row_bytes = static_cast<std::size_t>(columns_) * sizeof(float);
  if (length_ + n > capacity) {
    const std::int64_t grown = std::max<std::int64_t>({length_ + n, 2 * capacity, 64});
    for (Tensor* cache : {&keys_, &values_}) {
      const Tensor larger = Tensor::empty({grown, columns_}, DType::kF32, stream_->device());
      if (length_ > 0) {
        stream_->copy(larger.mutable_bytes(), cache->bytes(),
                      static_cast<std::size_t>(length_) * row_bytes);
      }
      *cache = larger;
    }
  }
  const auto offset = static_cast<std::size_t>(length_) * row_bytes;
  const auto size = static_cast<std::size_t>(n) * row_bytes;
  stream_->copy(keys_.mutable_bytes() + offset, keys, size);
  stream_->copy(values_.mutable_bytes() + offset, values, size);
  length_ += n;
}

}  // namespace aquatint
