#include "kernels/gated_group_norm/gated_group_norm.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/gated_group_norm/gated_group_norm_variants.h"

namespace aquatint::kernels {
namespace {

// Values a thread should have before another one is worth waking.
constexpr std::int64_t kValuesPerPart = 16384;

GatedGroupNormFn active_variant() {
  GatedGroupNormFn best = nullptr;
  for (const auto& variant : gated_group_norm_variants()) {
    if (variant.isa <= active_isa()) best = variant.run;
  }
  return best;
}

}  // namespace

const std::vector<GatedGroupNormVariant>& gated_group_norm_variants() {
  static const std::vector<GatedGroupNormVariant> variants = {
    {Isa::kReference, gated_group_norm_reference},
#if defined(__x86_64__)
    {Isa::kAvx2, gated_group_norm_avx2},
    {Isa::kAvx512, gated_group_norm_avx512},
#endif
  };
  return variants;
}

void gated_group_norm(GateOrder order, const float* x, const float* gate, std::int64_t ld_gate,
                      const float* w, std::int64_t rows, std::int64_t groups, std::int64_t size,
                      float eps, float* y) {
  const std::int64_t columns = groups * size;
  if (rows < 0 || groups < 1 || size < 1 || ld_gate < columns) {
    raise(ErrorKind::kInvalidArgument,
          "gated norm of groups: {} rows of {} groups of {}, rows of the gate {} apart", rows,
          groups, size, ld_gate);
  }
  if (rows == 0) return;
  const bool weights = w != nullptr || order == GateOrder::kGateOnly;
  if (x == nullptr || gate == nullptr || y == nullptr || !weights) {
    raise(ErrorKind::kInvalidArgument, "gated norm of groups: an array is missing");
  }
  static const GatedGroupNormFn run = active_variant();
  const GatedGroupNormArgs args{order, x, gate, ld_gate, w, groups, size, eps, y};
  parallel_for(rows, std::max<std::int64_t>(1, kValuesPerPart / columns),
               [&](std::int64_t begin, std::int64_t end) { run(args, begin, end); });
}

}  // namespace aquatint::kernels
