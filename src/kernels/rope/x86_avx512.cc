#include "kernels/rope/rope_body.h"

namespace aquatint::kernels {

void rope_avx512(const RopeArgs& args, int64_t begin, int64_t end) noexcept {
  rope_body(args, begin, end);
}

}  // namespace aquatint::kernels
