#include "base/dtype.h"
#include "kernels/round_bf16/round_bf16_internal.h"

namespace aquatint::kernels {

bool round_bf16_reference(const float* x, std::int64_t n, std::uint16_t* y) noexcept {
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = f32_to_bf16(x[i]);
    finite &= (y[i] & 0x7f80u) != 0x7f80u;
  }
  return finite;
}

}  // namespace aquatint::kernels
