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

}  // namespace

std::optional<Activation> activation_from_name(std::string_view name) {
  for (const auto& [known, activation] : kNames) {
    if (known == name) return activation;
  }
  return std::nullopt;
}

std::optional<Activation> activation_from_transformers(std::string_view name) {
  if (name == "gelu" || name == "gelu_python") return Activation::kGelu;
  if (name == "gelu_python_tanh") return Activation::kGeluTanh;
  return activation_from_name(name);
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
    const float* factor = up != nullptr ? up + begin : nullptr;
    kernels().gated(activation, gate + begin, factor, end - begin, y + begin);
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
  static const CudaKernel<ActivationCudaArgs> kernel("aquatint_cuda_activation");
  kernel(stream, {activation, x, n});
}

bool gated_activation(Stream& stream, Activation activation, const ProductView& gate,
                      const ProductView& up, std::int64_t rows, std::int64_t columns,
                      const RowSink& sink, int tag) {
  if (stream.is_cuda()) {
    static const CudaKernel<GatedRowsCudaArgs> kernel("aquatint_cuda_gated_rows");
    AQUATINT_ASSERT(columns > 0 && up.ld > 0);
    kernel(stream, {activation, gate, up, rows, columns, sink}, tag);
    return true;
  }
  AQUATINT_ASSERT(gate.f32 != nullptr && gate.ld == columns && sink.bf16 == nullptr);
  AQUATINT_ASSERT(up.f32 == nullptr || up.ld == columns);
  if (sink.int8 != nullptr) {
    return gated_activation_int8(activation, gate.f32, up.f32, rows, columns, sink.group_size,
                                 sink.groups, sink.int8, sink.scales, sink.group_sums);
  }
  gated_activation(activation, gate.f32, up.f32, rows * columns, sink.f32);
  return true;
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
