#include "kernels/scaled_add/scaled_add.h"

#include "base/error.h"
#include "base/threads.h"

namespace aquatint::kernels {
namespace {

// Fewer elements than this are not worth waking another thread for.
constexpr std::int64_t kElementsPerThread = 1 << 14;

void check_device(const Stream& stream) {
  if (!stream.is_cuda()) return;
  raise(ErrorKind::kUnsupported, "'{}': scaled residuals run on the CPU only",
        stream.device().str());
}

}  // namespace

void scaled_add(Stream& stream, float* y, const float* x, float factor, std::int64_t n) {
  check_device(stream);
  parallel_for(n, kElementsPerThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) y[i] += factor * x[i];
  });
}

void scale(Stream& stream, float* x, float factor, std::int64_t n) {
  check_device(stream);
  parallel_for(n, kElementsPerThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) x[i] *= factor;
  });
}

}  // namespace aquatint::kernels
