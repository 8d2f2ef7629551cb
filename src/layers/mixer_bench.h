// What the benchmarks of mixers share: layers with weights of every kind, and timing.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>

#include "layers/linear.h"

namespace aquatint {

constexpr std::int64_t kStepRows = 512;  // of a model's step

enum Weights : std::int64_t { kInt8, kInt4, kBfloat16, kFloat32 };

inline Tensor values(Shape shape, float low, float high) {
  const Tensor tensor = Tensor::empty(shape, DType::kF32);
  auto* v = tensor.mutable_data<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    v[i] = low + (high - low) * static_cast<float>(i * 2654435761 % 1024) / 1024.0f;
  }
  return tensor;
}

inline Linear linear(std::int64_t outputs, std::int64_t columns, Weights weights) {
  LinearWeights w;
  LoadOptions options;
  if (weights == kInt8 || weights == kInt4) {
    const bool grouped = weights == kInt4 && columns % 128 == 0;
    QuantizedMatrix m;
    m.scheme = {weights == kInt8 ? 8 : 4, true, grouped ? Granularity::kGroup : Granularity::kRow,
                grouped ? 128 : 0};
    m.values = Tensor::empty({outputs, columns}, DType::kI8);
    for (std::int64_t i = 0; i < outputs * columns; ++i) {
      m.values.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(i * 7 % 15 - 7);
    }
    m.scales = values({outputs, m.scheme.groups(columns)}, 0.001f, 0.002f);
    w.weight = m;
    w.activations = weights == kInt8 ? ActivationScheme::kInt8Dynamic : ActivationScheme::kFloat;
  } else {
    w.weight = values({outputs, columns}, -0.02f, 0.02f);
    options.compute = weights == kBfloat16 ? kernels::DenseType::kBF16 : kernels::DenseType::kF32;
  }
  return Linear(w, options);
}

template <typename Body>
double seconds_of(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Runs the products of a layer, in turn, on inputs of their own.
inline void run_products(ForwardContext& context, const std::vector<Linear>& linears,
                         const float* x, std::int64_t rows) {
  for (const Linear& linear : linears) {
    const Workspace::Scope scope(context.workspace);
    LinearInput input = LinearInput::values(context, x, rows, linear.columns());
    linear.forward(context, input, context.workspace.take<float>(rows * linear.outputs()));
  }
}

}  // namespace aquatint
