#include "layers/linear.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/residual_add/residual_add.h"

namespace aquatint {
namespace {

// Rows of a step up to which a GPU multiplies packed weights itself, reading them (mostly from its
// cache) for each kGpuFewRows of them. Beyond, the library's products win with what they need: int8
// sums that are finished in another pass, or weights expanded to bfloat16.
constexpr std::int64_t kMostOwnRowsA8 = 4 * kernels::kGpuFewRows;
constexpr std::int64_t kMostOwnRowsA16 = 3 * kernels::kGpuFewRows;
// Outputs of a dense product that is made beside quantized ones: a block of threads each.
constexpr std::int64_t kMostRiderOutputs = 32;
// Rows from which on tiles of 256 x 256 results are faster than a library's sums and their passes.
constexpr std::int64_t kFewestTileRows = 128;

// The bias that makes up for a zero point z of activations: W s (q - z) + b is the product of q,
// scaled by s, plus b - s z (W 1).
Tensor without_zero_point(const QuantizedMatrix& matrix, const StaticScale& input,
                          const Tensor& bias) {
  const std::vector<double> sums = row_sums(matrix);
  const Tensor result = Tensor::empty({matrix.rows()}, DType::kF32);
  auto* values = result.mutable_data<float>();
  for (std::int64_t n = 0; n < matrix.rows(); ++n) {
    const double own = bias.defined() ? static_cast<double>(bias.data<float>()[n]) : 0.0;
    values[n] = static_cast<float>(own - static_cast<double>(input.scale) * input.zero_point *
                                             sums[static_cast<std::size_t>(n)]);
  }
  return result;
}

}  // namespace

Linear::Linear(const LinearWeights& weights, const LoadOptions& options)
    : module_(weights.module), activations_(weights.activations), input_(weights.input) {
  Stream& stream = options.stream();
  if (weights.bias.defined()) bias_ = weights.bias.to_f32().on(stream);
  if (const auto* dense = std::get_if<Tensor>(&weights.weight)) {
    outputs_ = dense->dim(0);
    columns_ = dense->dim(1);
    dense_ = kernels::DenseWeights::pack(stream, *dense,
                                         options.compute.value_or(kernels::DenseType::kF32));
    return;
  }
  const auto& matrix = std::get<QuantizedMatrix>(weights.weight);
  outputs_ = matrix.rows();
  columns_ = matrix.columns();
  if (stream.is_cuda() && is_static(activations_)) {
    raise(ErrorKind::kUnsupported, "'{}': static scales of activations run on the CPU only",
          module_);
  }
  if (options.execution == Execution::kSimulated) {
    simulated_ = true;
    dense_ = kernels::DenseWeights::pack(dequantize(matrix), kernels::DenseType::kF32);
  } else if (stream.is_cuda()) {
    gpu_ = pack_gpu_weights(matrix);
    for (Tensor* tensor : {&gpu_->data, &gpu_->scales, &gpu_->zeros}) *tensor = tensor->on(stream);
  } else {
    packed_ = pack_weights(matrix);
    if (input_.zero_point != 0) bias_ = without_zero_point(matrix, input_, bias_);
  }
}

// Rows of int8 on the grid of the activations.
kernels::Int8Rows Linear::int8_rows(LinearInput& x, std::int64_t group_size,
                                    std::int64_t groups) const {
  return is_static(activations_) ? x.int8_static(input_, group_size, groups, module_)
                                 : x.int8(group_size, groups, module_);
}

std::size_t Linear::nbytes() const {
  return (dense_ ? dense_->nbytes() : 0) + (packed_ ? packed_->nbytes() : 0) +
         (gpu_ ? gpu_->nbytes() : 0) + (bias_.defined() ? bias_.nbytes() : 0);
}

void Linear::forward(ForwardContext& context, LinearInput& x, float* y, std::int64_t ldy) const {
  const std::int64_t rows = x.rows();
  if (context.taps != nullptr) context.tap(module_, ".input", x.f32(), rows, columns_);
  multiply(context, x, y, ldy, false);
  if (context.taps != nullptr && ldy == outputs_) {
    context.tap(module_, ".output", y, rows, outputs_);
  }
}

kernels::ProductView Linear::forward_view(ForwardContext& context, LinearInput& x) const {
  const std::int64_t rows = x.rows();
  kernels::ProductView view;
  view.ld = outputs_;
  if (context.taps == nullptr && uses_tiles(context, rows)) {
    const Wanted wanted{this, nullptr};
    return forward_tiles(context, x, std::span(&wanted, 1)).front();
  }
  const bool many = context.stream().is_cuda() && context.taps == nullptr &&
                    rows > kMostOwnRowsA8 && !bias_.defined();
  if (many && gpu_ && activations_ == ActivationScheme::kInt8Dynamic && has_one_int8_scale()) {
    const kernels::Int8Rows x8 = x.int8(gpu_->group_size, gpu_->groups, module_);
    view.sums = library_int8_sums(context, x8, rows);
    view.ld = gpu_->padded_outputs();
    view.x_scales = x8.scales;
    view.x_sums = x8.group_sums;
    view.w_scales = gpu_->scales.data<float>();
    view.w_zeros = gpu_->zeros.defined() ? gpu_->zeros.data<std::int8_t>() : nullptr;
    return view;
  }
  if (many && dense_ && dense_->type() == kernels::DenseType::kBF16) {
    auto* y = context.workspace.take<std::uint16_t>(rows * outputs_);
    kernels::matmul_bf16_gpu(
        context.stream(),
        {x.plain_bf16(module_), rows, columns_, dense_->gpu_bf16(), outputs_, columns_, columns_},
        y, outputs_);
    view.bf16 = y;
    return view;
  }
  if (many && gpu_ && activations_ == ActivationScheme::kFloat && gpu_->groups > 1) {
    auto* y = context.workspace.take<std::uint16_t>(rows * outputs_);
    const std::uint16_t* x16 = x.plain_bf16(module_);
    const Workspace::Scope scope(context.workspace);
    kernels::matmul_bf16_gpu(context.stream(), expanded_operands(context, x16, rows), y, outputs_);
    view.bf16 = y;
    return view;
  }
  float* y = context.workspace.take<float>(rows * outputs_);
  forward(context, x, y);
  view.f32 = y;
  return view;
}

// As forward_view, but never sums.
kernels::ProductView Linear::values_view(ForwardContext& context, LinearInput& x) const {
  const bool int8 = gpu_ && activations_ == ActivationScheme::kInt8Dynamic;
  if (!int8 || uses_tiles(context, x.rows())) return forward_view(context, x);
  kernels::ProductView view;
  view.ld = outputs_;
  float* y = context.workspace.take<float>(x.rows() * outputs_);
  forward(context, x, y);
  view.f32 = y;
  return view;
}

// Products that tiles make together: into y, or where it is null as bfloat16.
std::vector<kernels::ProductView> Linear::forward_tiles(ForwardContext& context, LinearInput& x,
                                                        std::span<const Wanted> wanted) {
  constexpr std::int64_t kAlignment = 8;  // of rows of bfloat16, for 16 bytes
  const std::int64_t rows = x.rows();
  std::vector<kernels::ProductView> views;
  std::vector<kernels::TiledProduct> products;
  for (const Wanted& w : wanted) {
    const Linear& linear = *w.linear;
    kernels::TiledProduct product{&*linear.gpu_, linear.bias(), w.y, nullptr, linear.outputs_};
    if (w.y == nullptr) {
      product.ldy = (linear.outputs_ + kAlignment - 1) / kAlignment * kAlignment;
      product.y16 = context.workspace.take<std::uint16_t>(rows * product.ldy);
    }
    products.push_back(product);
    views.emplace_back();
    views.back().f32 = product.y;
    views.back().bf16 = product.y16;
    views.back().ld = product.ldy;
  }
  const Linear& first = *wanted.front().linear;
  const GpuWeights& w = *first.gpu_;
  kernels::quant_matmul_a8_tiles(context.stream(), x.int8(w.group_size, w.groups, first.module_),
                                 rows, products);
  return views;
}

std::vector<kernels::ProductView> Linear::forward_shared(ForwardContext& context, LinearInput& x,
                                                         std::span<const Wanted> wanted) {
  const std::int64_t rows = x.rows();
  const Linear& first = *wanted.begin()->linear;
  const bool few = first.multiplies_itself(context, rows);
  const bool tiles = std::all_of(wanted.begin(), wanted.end(), [&](const Wanted& w) {
    return context.taps == nullptr && w.linear->uses_tiles(context, rows) &&
           first.can_share_launch(*w.linear) &&
           (w.y == nullptr || kernels::tiles_can_write(w.y, w.linear->outputs_));
  });
  if (tiles) return forward_tiles(context, x, wanted);
  std::vector<kernels::ProductView> views;
  std::vector<Few> products;  // with the first
  std::optional<Few> rider;
  for (const Wanted& w : wanted) {
    const Linear& linear = *w.linear;
    const bool shares =
        few && linear.multiplies_itself(context, rows) && first.can_share_launch(linear);
    const bool rides = few && !shares && !rider && first.can_carry(context, x, linear);
    if (!shares && !rides && w.y == nullptr) {
      views.push_back(w.values ? linear.values_view(context, x) : linear.forward_view(context, x));
      continue;
    }
    float* y = w.y != nullptr ? w.y : context.workspace.take<float>(rows * linear.outputs_);
    views.emplace_back();
    views.back().f32 = y;
    views.back().ld = linear.outputs_;
    if (shares) {
      products.push_back({&linear, y, linear.outputs_});
    } else if (rides) {
      rider = Few{&linear, y, linear.outputs_};
    } else {
      linear.forward(context, x, y);
    }
  }
  if (few) first.multiply_few(context, x, products, rider ? &*rider : nullptr);
  return views;
}

void Linear::forward_add(ForwardContext& context, LinearInput& x, float* y) const {
  const std::int64_t rows = x.rows();
  if (context.taps == nullptr && can_accumulate(context, rows)) {
    multiply(context, x, y, outputs_, true);
    return;
  }
  float* product = context.workspace.take<float>(rows * outputs_);
  forward(context, x, product);
  kernels::residual_add(context.stream(), y, product, rows * outputs_);
}

// On a GPU all products can add, but for those that are scaled in place afterwards.
bool Linear::can_accumulate(const ForwardContext& context, std::int64_t rows) const {
  if (!context.stream().is_cuda()) return false;
  const bool scaled = gpu_ && activations_ == ActivationScheme::kFloat && gpu_->groups == 1;
  return !scaled || rows <= kMostOwnRowsA16;
}

const std::uint16_t* Linear::gpu_bf16() const {
  const bool held =
      dense_ && !simulated_ && dense_->type() == kernels::DenseType::kBF16 && dense_->on_gpu();
  return held ? dense_->gpu_bf16() : nullptr;
}

// Whether weights on a GPU are multiplied by our own kernel, not by the library.
bool Linear::multiplies_itself(const ForwardContext& context, std::int64_t rows) const {
  if (context.taps != nullptr) return false;
  if (const std::uint16_t* w = gpu_bf16()) {
    return rows <= kernels::kGpuFewRows && kernels::takes_dense(w, columns_);
  }
  if (!gpu_) return false;
  if (activations_ != ActivationScheme::kInt8Dynamic) return rows <= kMostOwnRowsA16;
  return rows <= kMostOwnRowsA8 || !has_one_int8_scale();
}

bool Linear::can_share_launch(const Linear& other) const {
  if (!gpu_ || !other.gpu_) return !gpu_ && !other.gpu_ && columns_ == other.columns_;
  return activations_ == other.activations_ && kernels::can_share_launch(*gpu_, *other.gpu_);
}

// Whether a narrow dense product of the same input may be made beside this one's quantized weights,
// by the blocks of threads that make the rows for it.
bool Linear::can_carry(const ForwardContext& context, const LinearInput& x,
                       const Linear& rider) const {
  return gpu_ && rider.gpu_bf16() != nullptr && rider.outputs_ <= kMostRiderOutputs &&
         rider.multiplies_itself(context, x.rows()) && rider.columns_ == columns_ &&
         (activations_ != ActivationScheme::kInt8Dynamic || gpu_->groups == 1) &&
         x.row_source().has_value();
}

kernels::GpuDenseProduct Linear::dense_product(const Few& few) const {
  return {gpu_bf16(), outputs_, columns_, bias(), few.y, few.ldy, few.accumulate};
}

// Products of x with weights that share a launch. Those with quantized weights make their rows
// themselves where they can and no result is what the rows are made of; beside the bytes of dense
// ones, another launch is nothing.
void Linear::multiply_few(ForwardContext& context, LinearInput& x, std::span<const Few> products,
                          const Few* rider) const {
  Stream& stream = context.stream();
  const std::int64_t rows = x.rows();
  std::optional<kernels::RowSource> source = x.row_source();
  std::vector<kernels::GpuProduct> packed;
  std::vector<kernels::GpuDenseProduct> dense;
  for (const Few& few : products) {
    const Linear& linear = *few.linear;
    if (source && source->x == few.y) source.reset();
    if (gpu_) {
      packed.push_back({&*linear.gpu_, linear.bias(), few.y, few.ldy, few.accumulate});
    } else {
      dense.push_back(linear.dense_product(few));
    }
  }
  std::optional<kernels::GpuDenseProduct> beside;
  if (rider != nullptr) beside = rider->linear->dense_product(*rider);
  const kernels::GpuDenseProduct* carried = beside ? &*beside : nullptr;
  const int tag = stream.fault_tag(module_);
  if (!gpu_) {
    kernels::dense_matmul_few(stream, x.plain_bf16(module_), columns_, rows, dense);
  } else if (activations_ != ActivationScheme::kInt8Dynamic) {
    source ? kernels::quant_matmul_a16(stream, *source, rows, packed, carried, tag)
           : kernels::quant_matmul_a16(stream, x.plain_bf16(module_), columns_, rows, packed);
  } else if (source && gpu_->groups == 1) {
    kernels::quant_matmul_a8(stream, *source, rows, packed, carried, tag);
  } else {
    const kernels::Int8Rows x8 = x.int8(gpu_->group_size, gpu_->groups, module_);
    kernels::quant_matmul_a8(stream, x8, rows, packed);
  }
}

void Linear::multiply(ForwardContext& context, LinearInput& x, float* y, std::int64_t ldy,
                      bool accumulate) const {
  AQUATINT_ASSERT(x.columns() == columns_);
  const std::int64_t rows = x.rows();
  const float* bias = this->bias();
  Stream& stream = context.stream();
  if (simulated_) {
    forward_simulated(context, x, y, ldy);
  } else if (multiplies_itself(context, rows)) {
    const Few few{this, y, ldy, accumulate};
    multiply_few(context, x, std::span(&few, 1), nullptr);
  } else if (gpu_ && activations_ == ActivationScheme::kInt8Dynamic) {
    multiply_gpu_a8(context, x, y, ldy, accumulate);
  } else if (gpu_) {
    multiply_gpu_a16(context, x, y, ldy, accumulate);
  } else if (packed_ && is_int8(activations_)) {
    const auto rows_int8 = int8_rows(x, packed_->group_size, packed_->groups);
    kernels::quant_matmul_a8(rows_int8, rows, *packed_, bias, y, ldy);
  } else if (packed_) {
    const auto rows_bf16 = x.bf16(packed_->group_size, packed_->groups, module_);
    kernels::quant_matmul_a16(rows_bf16, rows, *packed_, bias, y, ldy);
  } else if (dense_->type() == kernels::DenseType::kBF16) {
    kernels::matmul_bf16(stream, x.plain_bf16(module_), rows, *dense_, bias, y, ldy, accumulate);
  } else {
    kernels::matmul_f32(stream, x.f32(), rows, *dense_, bias, y, ldy, accumulate);
  }
}

// Whether the weights are what int8 products of many rows take: one scale per row.
bool Linear::has_one_int8_scale() const {
  return gpu_->bits == 8 && gpu_->groups == 1;
}

bool Linear::uses_tiles(const ForwardContext& context, std::int64_t rows) const {
  return gpu_ && activations_ == ActivationScheme::kInt8Dynamic && rows >= kFewestTileRows &&
         kernels::has_int8_tiles(context.stream(), *gpu_);
}

void Linear::multiply_gpu_a8(ForwardContext& context, LinearInput& x, float* y, std::int64_t ldy,
                             bool accumulate) const {
  const GpuWeights& w = *gpu_;
  const std::int64_t rows = x.rows();
  const float* bias = this->bias();
  const kernels::Int8Rows x8 = x.int8(w.group_size, w.groups, module_);
  if (rows <= kMostOwnRowsA8 || !has_one_int8_scale()) {
    kernels::quant_matmul_a8(context.stream(), x8, rows, w, bias, y, ldy, accumulate);
    return;
  }
  if (uses_tiles(context, rows) && kernels::tiles_can_write(y, ldy) && outputs_ % 4 == 0) {
    const kernels::TiledProduct product{&w, bias, y, nullptr, ldy, accumulate};
    kernels::quant_matmul_a8_tiles(context.stream(), x8, rows, std::span(&product, 1));
    return;
  }
  const Workspace::Scope scope(context.workspace);
  const std::int32_t* sums = library_int8_sums(context, x8, rows);
  kernels::int8_epilogue(context.stream(), sums, w.padded_outputs(), x8, rows, w, bias, accumulate,
                         y, ldy);
}

// int32 sums [rows, padded outputs] of the library's product, in the workspace.
std::int32_t* Linear::library_int8_sums(ForwardContext& context, const kernels::Int8Rows& x8,
                                        std::int64_t rows) const {
  const GpuWeights& w = *gpu_;
  auto* sums = context.workspace.take<std::int32_t>(rows * w.padded_outputs());
  kernels::matmul_int8_gpu(context.stream(),
                           {x8.values, rows, w.padded_columns, w.data.data<std::int8_t>(),
                            w.padded_outputs(), w.padded_columns, w.padded_columns},
                           sums);
  return sums;
}

// Operands of the library's bfloat16 product, with the weights expanded into the workspace.
kernels::GpuOperands<std::uint16_t> Linear::expanded_operands(ForwardContext& context,
                                                              const std::uint16_t* x16,
                                                              std::int64_t rows) const {
  const std::int64_t ldw = gpu_->padded_columns;
  auto* w16 = context.workspace.take<std::uint16_t>(outputs_ * ldw);
  kernels::dequantize_bf16(context.stream(), *gpu_, w16, ldw);
  return {x16, rows, columns_, w16, outputs_, ldw, columns_};
}

// With many rows the library's bfloat16 product is worth expanding the weights for.
void Linear::multiply_gpu_a16(ForwardContext& context, LinearInput& x, float* y, std::int64_t ldy,
                              bool accumulate) const {
  const GpuWeights& w = *gpu_;
  const std::int64_t rows = x.rows();
  const float* bias = this->bias();
  const std::uint16_t* x16 = x.plain_bf16(module_);
  Stream& stream = context.stream();
  if (rows <= kMostOwnRowsA16) {
    kernels::quant_matmul_a16(stream, x16, columns_, rows, w, bias, y, ldy, accumulate);
    return;
  }
  const Workspace::Scope scope(context.workspace);
  const bool scaled = w.groups > 1;  // else the integers, whose products get scale and bias
  kernels::matmul_bf16_gpu(stream, expanded_operands(context, x16, rows), scaled ? bias : nullptr,
                           y, ldy, accumulate);
  if (!scaled) kernels::scale_outputs(stream, w, rows, bias, y, ldy);
}

// The activations are put on the grid the integer kernels use (int8 per token, or bfloat16), then
// multiplied in float32 by the dequantized weights.
void Linear::forward_simulated(ForwardContext& context, LinearInput& x, float* y,
                               std::int64_t ldy) const {
  const std::int64_t rows = x.rows(), columns = columns_;
  const std::int64_t padded = (columns + 7) / 8 * 8;
  // Forms cached in x outlive this call, so they are made before the scope opens.
  const bool int8 = is_int8(activations_);
  const kernels::Int8Rows q = int8 ? int8_rows(x, padded, 1) : kernels::Int8Rows{};
  const std::uint16_t* rounded = int8 ? nullptr : x.plain_bf16(module_);
  const Workspace::Scope scope(context.workspace);
  float* grid = context.workspace.take<float>(rows * columns);
  parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t m = begin; m < end; ++m) {
      for (std::int64_t k = 0; k < columns; ++k) {
        grid[m * columns + k] =
            int8 ? static_cast<float>(q.values[m * padded + k] - input_.zero_point) * q.scales[m]
                 : bf16_to_f32(rounded[m * columns + k]);
      }
    }
  });
  kernels::matmul_f32(grid, rows, *dense_, bias_.defined() ? bias_.data<float>() : nullptr, y, ldy);
}

}  // namespace aquatint
