#include "kernels/gated_norm/gated_norm.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/gated_norm/cuda_args.h"
#include "kernels/gated_norm/gated_norm_variants.h"

namespace aquatint::kernels {
namespace {

// Values a thread should have before another one is worth waking.
constexpr std::int64_t kValuesPerPart = 16384;

GatedNormFn active_variant() {
  GatedNormFn best = nullptr;
  for (const auto& variant : gated_norm_variants()) {
    if (variant.isa <= active_isa()) best = variant.run;
  }
  return best;
}

void check(const float* o, std::int64_t rows, std::int64_t heads, std::int64_t dv, const float* y) {
  if (rows < 0 || heads < 1 || dv < 1) {
    raise(ErrorKind::kInvalidArgument, "gated norm: {} rows of {} heads of {} values", rows, heads,
          dv);
  }
  if (rows > 0 && (o == nullptr || y == nullptr)) {
    raise(ErrorKind::kInvalidArgument, "gated norm: no {} array",
          o == nullptr ? "input" : "output");
  }
}

}  // namespace

const std::vector<GatedNormVariant>& gated_norm_variants() {
  static const std::vector<GatedNormVariant> variants = {
    {Isa::kReference, gated_norm_reference},
#if defined(__x86_64__)
    {Isa::kAvx2, gated_norm_avx2},
    {Isa::kAvx512, gated_norm_avx512},
#endif
  };
  return variants;
}

void gated_rms_norm(const float* o, const float* gate, const float* w, std::int64_t rows,
                    std::int64_t heads, std::int64_t dv, float eps, float* y) {
  check(o, rows, heads, dv, y);
  if (rows == 0) return;
  static const GatedNormFn run = active_variant();
  const GatedNormArgs args{o, gate, w, dv, eps, y};
  parallel_for(rows * heads, std::max<std::int64_t>(1, kValuesPerPart / dv),
               [&](std::int64_t begin, std::int64_t end) { run(args, begin, end); });
}

void gated_rms_norm(Stream& stream, const float* o, const float* gate, const float* w,
                    std::int64_t rows, std::int64_t heads, std::int64_t dv, float eps, float* y) {
  if (!stream.is_cuda()) return gated_rms_norm(o, gate, w, rows, heads, dv, eps, y);
  check(o, rows, heads, dv, y);
  RowSink sink;
  sink.f32 = y;
  ProductView view;
  view.f32 = gate;
  view.ld = heads * dv;
  gated_rms_norm_gpu(stream, o, gate != nullptr ? &view : nullptr, w, rows, heads, dv, eps, sink,
                     0);
}

void gated_rms_norm_gpu(Stream& stream, const float* o, const ProductView* gate, const float* w,
                        std::int64_t rows, std::int64_t heads, std::int64_t dv, float eps,
                        const RowSink& sink, int tag) {
  static const CudaKernel<GatedNormCudaArgs> kernel("aquatint_cuda_gated_norm");
  kernel(
      stream,
      {o, gate != nullptr, gate != nullptr ? *gate : ProductView{}, w, rows, heads, dv, eps, sink},
      tag);
}

}  // namespace aquatint::kernels
