#include "layers/workspace.h"

#include <algorithm>

namespace aquatint {
namespace {
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kMinBlock = std::size_t{1} << 20;
}  // namespace

std::byte* Workspace::take_bytes(std::size_t n) {
  n = (std::max<std::size_t>(n, 1) + kAlignment - 1) / kAlignment * kAlignment;
  while (block_ < blocks_.size() && used_ + n > blocks_[block_].nbytes()) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) {
    const std::size_t size = std::max(n, std::max(kMinBlock, reserved_bytes()));
    blocks_.push_back(
        Tensor::empty({static_cast<std::int64_t>(size)}, DType::kU8, stream_->device()));
    used_ = 0;
  }
  std::byte* address = blocks_[block_].mutable_bytes() + used_;
  used_ += n;
  return address;
}

std::size_t Workspace::reserved_bytes() const {
  std::size_t total = 0;
  for (const Tensor& block : blocks_) total += block.nbytes();
  return total;
}

}  // namespace aquatint
