#include "kernels/layer_norm/layer_norm.h"

#include <vector>

#include "base/error.h"
#include "kernels/layer_norm/variants.h"
#include "kernels/norm_rows.h"

namespace aquatint::kernels {
namespace {

const detail::LayerNormKernels& kernels() {
  static const detail::LayerNormKernels* const chosen = [] {
    const detail::LayerNormKernels* best = nullptr;
    for (const auto& variant : detail::layer_norm_variants()) {
      if (variant.isa <= active_isa()) best = variant.kernels;
    }
    return best;
  }();
  return *chosen;
}

bool run(detail::LayerNormFunction function, const detail::LayerNormArgs& args, std::int64_t rows,
         bool buffered) {
  AQUATINT_ASSERT(args.columns > 0 && args.w != nullptr && args.b != nullptr);
  return run_norm_rows(function, args, rows, buffered);
}

detail::LayerNormArgs make_args(const float* x, const float* w, const float* b,
                                std::int64_t columns, float eps) {
  detail::LayerNormArgs args;
  args.x = x;
  args.w = w;
  args.b = b;
  args.columns = columns;
  args.eps = eps;
  return args;
}

}  // namespace

void layer_norm(const float* x, const float* w, const float* b, std::int64_t rows,
                std::int64_t columns, float eps, float* y) {
  auto args = make_args(x, w, b, columns, eps);
  args.y = y;
  run(kernels().norm, args, rows, false);
}

bool layer_norm_int8(const float* x, const float* w, const float* b, std::int64_t rows,
                     std::int64_t columns, float eps, std::int64_t group_size, std::int64_t groups,
                     std::int8_t* values, float* scales, std::int32_t* group_sums) {
  AQUATINT_ASSERT(group_size > 0 && group_size * groups >= columns);
  auto args = make_args(x, w, b, columns, eps);
  args.group_size = group_size;
  args.groups = groups;
  args.values = values;
  args.scales = scales;
  args.group_sums = group_sums;
  return run(kernels().norm_int8, args, rows, true);
}

bool layer_norm(Stream& stream, const float* x, const float* w, const float* b, std::int64_t rows,
                std::int64_t columns, float eps, const RowSink& sink) {
  if (stream.is_cuda()) {
    raise(ErrorKind::kUnsupported, "'{}': layer normalization runs on the CPU only",
          stream.device().str());
  }
  AQUATINT_ASSERT(sink.bf16 == nullptr);
  if (sink.int8 != nullptr) {
    return layer_norm_int8(x, w, b, rows, columns, eps, sink.group_size, sink.groups, sink.int8,
                           sink.scales, sink.group_sums);
  }
  layer_norm(x, w, b, rows, columns, eps, sink.f32);
  return true;
}

namespace detail {

std::vector<LayerNormVariant> layer_norm_variants() {
  std::vector<LayerNormVariant> variants{{Isa::kReference, &kLayerNormReference}};
#if defined(__x86_64__)
  if (detected_isa() >= Isa::kAvx2) variants.push_back({Isa::kAvx2, &kLayerNormAvx2});
  if (detected_isa() >= Isa::kAvx512) variants.push_back({Isa::kAvx512, &kLayerNormAvx512});
#endif
  return variants;
}

}  // namespace detail
}  // namespace aquatint::kernels
