#include "kernels/activation/activation.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/activation/cuda_args.h"
#include "kernels/activation/variants.h"

namespace aquatint::kernels {
namespace {

// Fewer elements than this are not worth waking another thread for.
constexpr std::int64_t kElementsPerThread = 8192;

constexpr std::array<std::pair<std::string_view, Activation>, 14> kNames{{
    {"identity", Activation::kIdentity},
    {"linear", Activation::kIdentity},
    {"silu", Activation::kSilu},
    {"swish", Activation::kSilu},
    {"relu", Activation::kRelu},
    {"sigmoid", Activation::kSigmoid},
    {"logsigmoid", Activation::kLogSigmoid},
    {"sqrelu", Activation::kSquaredRelu},
    {"relu2", Activation::kSquaredRelu},
    {"gelu", Activation::kGeluTanh},
    {"gelu_new", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh},
    {"gelu_tanh", Activation::kGeluTanh},
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
}};

const detail::ActivationKernels& kernels() {
  static const detail::ActivationKernels* const chosen = [] {
    const detail::ActivationKernels* best = nullptr;
    for (const auto& variant : detail::activation_variants()) {
      if (variant.isa <= active_isa()) best = variant.kernels;
    }
    return best;
  }();
  return *chosen;
}

void run_rows_cuda(Stream& stream, const GatedRowsCudaArgs& args, int tag) {
  static const CudaKernel<GatedRowsCudaArgs> kernel("aquatint_cuda_gated_rows");
  AQUATINT_ASSERT(args.columns > 0);
  kernel(stream, args, tag);
}

}  // namespace

std::optional<Activation> activation_from_name(std::string_view name) {
  for (const auto& [known, activation] : kNames) {
    if (known == name) return activation;
  }
  return std::nullopt;
}

void activate(Activation activation, float* x, std::int64_t n) {
  if (activation == Activation::kIdentity) return;
  parallel_for(n, kElementsPerThread, [&](std::int64_t begin, std::int64_t end) {
    kernels().gated(activation, x + begin, nullptr, end - begin, x + begin);
  });
}

void gated_activation(Activation activation, const float* gate, const float* up, std::int64_t n,
                      float* y) {
  parallel_for(n, kElementsPerThread, [&](std::int64_t begin, std::int64_t end) {
    kernels().gated(activation, gate + begin, up + begin, end - begin, y + begin);
  });
}

bool gated_activation_int8(Activation activation, const float* gate, const float* up,
                           std::int64_t rows, std::int64_t columns, std::int64_t group_size,
                           std::int64_t groups, std::int8_t* values, float* scales,
                           std::int32_t* group_sums) {
  AQUATINT_ASSERT(columns > 0 && group_size > 0 && group_size * groups >= columns);
  std::atomic<bool> finite{true};
  const std::int64_t grain = std::max<std::int64_t>(1, kElementsPerThread / columns);
  parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> buffer(static_cast<std::size_t>(columns));
    const detail::GatedInt8Args args{gate,   up,     columns,    group_size,   groups,
                                     values, scales, group_sums, buffer.data()};
    if (!kernels().gated_int8(activation, args, begin, end)) finite = false;
  });
  return finite;
}

void activate(Stream& stream, Activation activation, float* x, std::int64_t n) {
  if (!stream.is_cuda()) return activate(activation, x, n);
  if (activation == Activation::kIdentity) return;
  gated_activation(stream, activation, x, nullptr, n, x);
}

void gated_activation(Stream& stream, Activation activation, const float* gate, const float* up,
                      std::int64_t n, float* y) {
  if (!stream.is_cuda()) return gated_activation(activation, gate, up, n, y);
  static const CudaKernel<ActivationCudaArgs> kernel("aquatint_cuda_activation");
  kernel(stream, {activation, gate, up, y, n});
}

bool gated_activation_int8(Stream& stream, Activation activation, const float* gate,
                           const float* up, std::int64_t rows, std::int64_t columns,
                           std::int64_t group_size, std::int64_t groups, std::int8_t* values,
                           float* scales, std::int32_t* group_sums, int tag) {
  if (!stream.is_cuda()) {
    return gated_activation_int8(activation, gate, up, rows, columns, group_size, groups, values,
                                 scales, group_sums);
  }
  RowSink sink;
  sink.int8 = values;
  sink.scales = scales;
  sink.group_sums = group_sums;
  sink.group_size = group_size;
  sink.groups = groups;
  run_rows_cuda(stream, {activation, gate, up, rows, columns, sink}, tag);
  return true;
}

void gated_activation_bf16(Stream& stream, Activation activation, const float* gate,
                           const float* up, std::int64_t rows, std::int64_t columns,
                           std::uint16_t* y, int tag) {
  RowSink sink;
  sink.bf16 = y;
  run_rows_cuda(stream, {activation, gate, up, rows, columns, sink}, tag);
}

namespace detail {

std::vector<ActivationVariant> activation_variants() {
  std::vector<ActivationVariant> variants{{Isa::kReference, &kActivationReference}};
#if defined(__x86_64__)
  if (detected_isa() >= Isa::kAvx2) variants.push_back({Isa::kAvx2, &kActivationAvx2});
  if (detected_isa() >= Isa::kAvx512) variants.push_back({Isa::kAvx512, &kActivationAvx512});
#endif
  return variants;
}

}  // namespace detail
}  // namespace aquatint::kernels
