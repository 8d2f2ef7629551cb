#include "kernels/rms_norm/rms_norm.h"

#include <vector>

#include "base/error.h"
#include "device/cuda_kernel.h"
#include "kernels/norm_rows.h"
#include "kernels/rms_norm/cuda_args.h"
#include "kernels/rms_norm/variants.h"

namespace aquatint::kernels {
namespace {

const detail::RmsNormKernels& kernels() {
  static const detail::RmsNormKernels* const chosen = [] {
    const detail::RmsNormKernels* best = nullptr;
    for (const auto& variant : detail::rms_norm_variants()) {
      if (variant.isa <= active_isa()) best = variant.kernels;
    }
    return best;
  }();
  return *chosen;
}

bool run(detail::RmsNormFunction function, const detail::RmsNormArgs& args, std::int64_t rows,
         bool buffered) {
  AQUATINT_ASSERT(args.columns > 0);
  return run_norm_rows(function, args, rows, buffered);
}

detail::RmsNormArgs make_args(const float* x, const float* w, std::int64_t columns, float eps) {
  detail::RmsNormArgs args;
  args.x = x;
  args.w = w;
  args.columns = columns;
  args.eps = eps;
  return args;
}

void run_cuda(Stream& stream, const RmsNormCudaArgs& args, int tag) {
  static const CudaKernel<RmsNormCudaArgs> kernel("aquatint_cuda_rms_norm");
  AQUATINT_ASSERT(args.columns > 0);
  kernel(stream, args, tag);
}

RmsNormCudaArgs cuda_args(const float* x, const float* w, std::int64_t rows, std::int64_t columns,
                          float eps) {
  RmsNormCudaArgs args;
  args.x = x;
  args.w = w;
  args.rows = rows;
  args.columns = columns;
  args.eps = eps;
  return args;
}

}  // namespace

void rms_norm(const float* x, const float* w, std::int64_t rows, std::int64_t columns, float eps,
              float* y) {
  auto args = make_args(x, w, columns, eps);
  args.y = y;
  run(kernels().norm, args, rows, false);
}

void add_rms_norm(float* residual, const float* delta, const float* w, std::int64_t rows,
                  std::int64_t columns, float eps, float* y) {
  auto args = make_args(delta, w, columns, eps);
  args.residual = residual;
  args.y = y;
  run(kernels().add_norm, args, rows, false);
}

bool rms_norm_int8(const float* x, const float* w, std::int64_t rows, std::int64_t columns,
                   float eps, std::int64_t group_size, std::int64_t groups, std::int8_t* values,
                   float* scales, std::int32_t* group_sums) {
  AQUATINT_ASSERT(group_size > 0 && group_size * groups >= columns);
  auto args = make_args(x, w, columns, eps);
  args.group_size = group_size;
  args.groups = groups;
  args.values = values;
  args.scales = scales;
  args.group_sums = group_sums;
  return run(kernels().norm_int8, args, rows, true);
}

bool rms_norm_int8_static(const float* x, const float* w, std::int64_t rows, std::int64_t columns,
                          float eps, float scale, std::int8_t* values) {
  AQUATINT_ASSERT(scale > 0);
  auto args = make_args(x, w, columns, eps);
  args.values = values;
  args.scale = scale;
  return run(kernels().norm_int8_static, args, rows, true);
}

void rms_norm(Stream& stream, const float* x, const float* w, std::int64_t rows,
              std::int64_t columns, float eps, float* y) {
  if (!stream.is_cuda()) return rms_norm(x, w, rows, columns, eps, y);
  auto args = cuda_args(x, w, rows, columns, eps);
  args.sink.f32 = y;
  run_cuda(stream, args, 0);
}

void add_rms_norm(Stream& stream, float* residual, const float* delta, const float* w,
                  std::int64_t rows, std::int64_t columns, float eps, float* y) {
  if (!stream.is_cuda()) return add_rms_norm(residual, delta, w, rows, columns, eps, y);
  auto args = cuda_args(residual, w, rows, columns, eps);
  args.delta = delta;
  args.residual = residual;
  args.sink.f32 = y;
  run_cuda(stream, args, 0);
}

bool rms_norm(Stream& stream, const float* x, const float* w, std::int64_t rows,
              std::int64_t columns, float eps, const RowSink& sink, int tag) {
  if (stream.is_cuda()) {
    auto args = cuda_args(x, w, rows, columns, eps);
    args.sink = sink;
    run_cuda(stream, args, tag);
    return true;
  }
  AQUATINT_ASSERT(sink.bf16 == nullptr);
  if (sink.int8 != nullptr) {
    return rms_norm_int8(x, w, rows, columns, eps, sink.group_size, sink.groups, sink.int8,
                         sink.scales, sink.group_sums);
  }
  rms_norm(x, w, rows, columns, eps, sink.f32);
  return true;
}

namespace detail {

std::vector<RmsNormVariant> rms_norm_variants() {
  std::vector<RmsNormVariant> variants{{Isa::kReference, &kRmsNormReference}};
#if defined(__x86_64__)
  if (detected_isa() >= Isa::kAvx2) variants.push_back({Isa::kAvx2, &kRmsNormAvx2});
  if (detected_isa() >= Isa::kAvx512) variants.push_back({Isa::kAvx512, &kRmsNormAvx512});
#endif
  return variants;
}

}  // namespace detail
}  // namespace aquatint::kernels
