#include "formats/compressed_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/printable.h"

namespace aquatint {
namespace {

bool is_packed(const ModuleScheme& scheme) {
  return module_format(scheme) == std::string_view("pack-quantized");
}

Shape scale_shape(const WeightScheme& scheme, std::int64_t rows, std::int64_t columns) {
  if (scheme.granularity == Granularity::kTensor) return Shape{1};
  return Shape{rows, scheme.groups(columns)};
}

// The library packs the zero points of grouped and per-row scales only.
bool packs_zero_points(const ModuleScheme& scheme) {
  return is_packed(scheme) && scheme.weights.granularity != Granularity::kTensor;
}

template <typename T>
Tensor transpose(const Tensor& tensor) {
  const std::int64_t rows = tensor.dim(0), columns = tensor.dim(1);
  Tensor out = Tensor::empty(Shape{columns, rows}, tensor.dtype());
  const std::byte* source = tensor.bytes();  // perhaps not aligned
  T* target = out.mutable_data<T>();
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      std::memcpy(target + c * rows + r, source + (r * columns + c) * std::int64_t{sizeof(T)},
                  sizeof(T));
    }
  }
  return out;
}

template <typename T>
Tensor one_value(T value, DType dtype) {
  Tensor tensor = Tensor::empty(Shape{1}, dtype);
  *tensor.mutable_data<T>() = value;
  return tensor;
}

Tensor shape_tensor(std::int64_t rows, std::int64_t columns) {
  Tensor shape = Tensor::empty(Shape{2}, DType::kI64);
  shape.mutable_data<std::int64_t>()[0] = rows;
  shape.mutable_data<std::int64_t>()[1] = columns;
  return shape;
}

// Scales in the type of the file, without loss.
Tensor exact_scales(const Tensor& scales, const Shape& shape, DType dtype) {
  Tensor converted = scales.to(dtype);
  const Tensor back = converted.to_f32();
  AQUATINT_ASSERT(std::memcmp(back.bytes(), scales.bytes(), scales.nbytes()) == 0);
  return converted.reshape(shape);
}

// Reads the tensors of one module, checking each against the others.
class ModuleReader {
 public:
  ModuleReader(const TensorFiles& set, const std::string& module, const ModuleScheme& scheme,
               bool transposed)
      : set_(set),
        module_(module),
        scheme_(scheme.weights),
        static_input_(is_static(scheme.activations)),
        transposed_(transposed) {}

  QuantizedMatrix read() const {
    reject("weight_g_idx", "columns in another order are not supported");
    if (!static_input_) reject("input_scale", "config.json says nothing of static activations");
    QuantizedMatrix matrix;
    matrix.scheme = scheme_;
    const bool packed = set_.contains(name("weight_packed"));
    matrix.values = packed ? read_packed() : read_plain();
    check_groups(matrix);
    matrix.scales = read_scales(matrix);
    if (set_.contains(name("weight_zero_point")) || !scheme_.symmetric) {
      matrix.zero_points = read_zero_points(matrix);
    }
    validate(matrix, name(packed ? "weight_packed" : "weight"));
    return matrix;
  }

 private:
  std::string name(const char* part) const { return module_ + "." + part; }

  void reject(const char* part, const char* reason) const {
    if (set_.contains(name(part))) {
      raise(ErrorKind::kUnsupported, "tensor '{}': {}", printable(name(part)), reason);
    }
  }

  [[noreturn]] void wrong(const char* part, const Tensor& found, const std::string& wanted) const {
    raise(ErrorKind::kCorrupt, "tensor '{}' is {} {}, but must be {}", printable(name(part)),
          dtype_name(found.dtype()), found.shape().str(), wanted);
  }

  // Not empty either: the other dimension of an empty matrix could be anything.
  static bool is_matrix(const Tensor& tensor) {
    return tensor.shape().rank() == 2 && tensor.numel() > 0;
  }

  Tensor read_plain() const {
    const Tensor values = set_.tensor(name("weight"));
    if (values.dtype() != DType::kI8 || !is_matrix(values)) {
      wrong("weight", values, "an int8 matrix");
    }
    return transposed_ ? values.transposed() : values;
  }

  Tensor read_packed() const {
    const Tensor words = set_.tensor(name("weight_packed"));
    if (words.dtype() != DType::kI32 || !is_matrix(words)) {
      wrong("weight_packed", words, "an int32 matrix");
    }
    const auto [rows, columns] = read_shape();
    // The width bounds the columns, which bounds what is allocated; no product overflows after
    // this.
    if (rows != words.dim(0) || columns < 0 || columns > words.dim(1) * (32 / scheme_.bits + 1)) {
      raise(ErrorKind::kCorrupt, "tensor '{}' says [{}, {}], which does not fit '{}' of shape {}",
            printable(name("weight_shape")), rows, columns, printable(name("weight_packed")),
            words.shape().str());
    }
    return unpack("weight_packed", words, columns);
  }

  std::pair<std::int64_t, std::int64_t> read_shape() const {
    const Tensor shape = set_.tensor(name("weight_shape"));
    const bool wide = shape.dtype() == DType::kI64;
    if (shape.numel() != 2 || (!wide && shape.dtype() != DType::kI32)) {
      wrong("weight_shape", shape, "2 integers");
    }
    if (wide) {
      std::int64_t numbers[2];
      std::memcpy(numbers, shape.bytes(), sizeof(numbers));
      return {numbers[0], numbers[1]};
    }
    std::int32_t numbers[2];
    std::memcpy(numbers, shape.bytes(), sizeof(numbers));
    return {numbers[0], numbers[1]};
  }

  Tensor unpack(const char* part, const Tensor& words, std::int64_t columns) const {
    try {
      return unpack_int32(words, scheme_.bits, columns);
    } catch (const Error& error) {
      raise(error.kind(), "tensor '{}': {}", printable(name(part)), error.what());
    }
  }

  void check_groups(const QuantizedMatrix& matrix) const {
    if (scheme_.granularity != Granularity::kGroup) return;
    if (matrix.columns() % scheme_.group_size != 0) {
      raise(ErrorKind::kCorrupt, "tensor '{}': {} columns are not a multiple of the group size {}",
            printable(name("weight")), matrix.columns(), scheme_.group_size);
    }
  }

  // [rows, groups] or [1, 1], the shapes that QuantizedMatrix wants; files have fewer ones at
  // times.
  Shape matrix_scale_shape(const QuantizedMatrix& matrix) const {
    if (scheme_.granularity == Granularity::kTensor) return Shape{1, 1};
    return Shape{matrix.rows(), matrix.groups()};
  }

  bool fits_scales(const Shape& found, const Shape& wanted) const {
    if (found == wanted) return true;
    return found.numel() == wanted.numel() && wanted[1] == 1 && found.rank() <= 1;
  }

  Tensor read_scales(const QuantizedMatrix& matrix) const {
    const Tensor scales = set_.tensor(name("weight_scale"));
    const Shape wanted = matrix_scale_shape(matrix);
    if (!is_float(scales.dtype()) || !fits_scales(scales.shape(), wanted)) {
      wrong("weight_scale", scales, "floating-point " + wanted.str());
    }
    return scales.to_f32().reshape(wanted);
  }

  // int8 of the shape of the scales, or int32 words packed along the first dimension. Symmetric
  // modules need none; older files have one of zeros.
  Tensor read_zero_points(const QuantizedMatrix& matrix) const {
    const Shape wanted = matrix_scale_shape(matrix);
    Tensor zeros = set_.tensor(name("weight_zero_point"));
    if (zeros.dtype() == DType::kI32 && zeros.shape().rank() == 2 && zeros.dim(1) == wanted[1]) {
      const Tensor words = transpose<std::int32_t>(zeros);
      zeros = transpose<std::int8_t>(unpack("weight_zero_point", words, wanted[0]));
    } else if (zeros.dtype() != DType::kI8 || !fits_scales(zeros.shape(), wanted)) {
      wrong("weight_zero_point", zeros, "int8 " + wanted.str() + " or packed int32");
    }
    const int low = scheme_.symmetric ? 0 : scheme_.qmin();
    const int high = scheme_.symmetric ? 0 : scheme_.qmax();
    const auto* values = zeros.data<std::int8_t>();
    for (std::int64_t i = 0; i < zeros.numel(); ++i) {
      if (values[i] < low || values[i] > high) {
        raise(ErrorKind::kCorrupt, "tensor '{}': zero point {} at {} is outside [{}, {}]",
              printable(name("weight_zero_point")), values[i], i, low, high);
      }
    }
    return scheme_.symmetric ? Tensor() : zeros.reshape(wanted);
  }

  const TensorFiles& set_;
  const std::string& module_;
  const WeightScheme& scheme_;
  bool static_input_;
  bool transposed_;
};

}  // namespace

std::vector<TensorInfo> compressed_tensor_infos(const std::string& module,
                                                const ModuleScheme& scheme, std::int64_t rows,
                                                std::int64_t columns, DType scale_dtype,
                                                bool transposed) {
  const WeightScheme& weights = scheme.weights;
  if (weights.granularity == Granularity::kGroup && columns % weights.group_size != 0) {
    raise(
        ErrorKind::kUnsupported,
        "'{}': {} columns are not a multiple of the group size {}, which compressed-tensors needs",
        module, columns, weights.group_size);
  }
  const Shape scales = scale_shape(weights, rows, columns);
  std::vector<TensorInfo> infos;
  if (is_packed(scheme)) {
    const std::int64_t words = (columns * weights.bits + 31) / 32;
    infos.push_back({module + ".weight_packed", DType::kI32, Shape{rows, words}});
    infos.push_back({module + ".weight_shape", DType::kI64, Shape{2}});
  } else {
    const Shape shape = transposed ? Shape{columns, rows} : Shape{rows, columns};
    infos.push_back({module + ".weight", DType::kI8, shape});
  }
  infos.push_back({module + ".weight_scale", scale_dtype, scales});
  if (!weights.symmetric && packs_zero_points(scheme)) {
    const std::int64_t words = (rows * weights.bits + 31) / 32;
    infos.push_back({module + ".weight_zero_point", DType::kI32, Shape{words, scales[1]}});
  } else if (!weights.symmetric) {
    infos.push_back({module + ".weight_zero_point", DType::kI8, scales});
  }
  if (is_static(scheme.activations)) {
    infos.push_back({module + ".input_scale", DType::kF32, Shape{1}});
  }
  if (scheme.activations == ActivationScheme::kInt8StaticAffine) {
    infos.push_back({module + ".input_zero_point", DType::kI8, Shape{1}});
  }
  return infos;
}

std::vector<std::pair<std::string, Tensor>> to_compressed_tensors(
    const std::string& module, const ModuleScheme& scheme, const QuantizedMatrix& matrix,
    DType scale_dtype, bool transposed, const StaticScale& input) {
  AQUATINT_ASSERT(matrix.scheme == scheme.weights);
  const std::vector<TensorInfo> infos = compressed_tensor_infos(
      module, scheme, matrix.rows(), matrix.columns(), scale_dtype, transposed);
  const int bits = scheme.weights.bits;
  std::vector<Tensor> tensors;
  if (is_packed(scheme)) {
    tensors.push_back(pack_int32(matrix.values, bits));
    tensors.push_back(shape_tensor(matrix.rows(), matrix.columns()));
  } else {
    tensors.push_back(transposed ? matrix.values.transposed() : matrix.values);
  }
  const Shape scales = scale_shape(scheme.weights, matrix.rows(), matrix.columns());
  tensors.push_back(exact_scales(matrix.scales, scales, scale_dtype));
  if (!scheme.weights.symmetric) {
    AQUATINT_ASSERT(matrix.zero_points.defined());
    if (packs_zero_points(scheme)) {
      const Tensor packed = pack_int32(transpose<std::int8_t>(matrix.zero_points), bits);
      tensors.push_back(transpose<std::int32_t>(packed));
    } else {
      tensors.push_back(matrix.zero_points.reshape(scales));
    }
  }
  if (is_static(scheme.activations)) tensors.push_back(one_value<float>(input.scale, DType::kF32));
  if (scheme.activations == ActivationScheme::kInt8StaticAffine) {
    const auto zero_point = static_cast<std::int8_t>(input.zero_point);
    tensors.push_back(one_value<std::int8_t>(zero_point, DType::kI8));
  }
  std::vector<std::pair<std::string, Tensor>> result;
  for (std::size_t i = 0; i < infos.size(); ++i) {
    AQUATINT_ASSERT(tensors[i].shape() == infos[i].shape && tensors[i].dtype() == infos[i].dtype);
    result.emplace_back(infos[i].name, tensors[i]);
  }
  return result;
}

QuantizedMatrix from_compressed_tensors(const TensorFiles& set, const std::string& module,
                                        const ModuleScheme& scheme, bool transposed) {
  return ModuleReader(set, module, scheme, transposed).read();
}

StaticScale read_static_scale(const TensorFiles& set, const std::string& module,
                              ActivationScheme scheme) {
  StaticScale grid;
  const auto one = [&](const char* part) {
    const Tensor tensor = set.tensor(module + part);
    if (tensor.numel() == 1) return tensor;
    raise(ErrorKind::kCorrupt, "tensor '{}' is {}, but must be one value", printable(module + part),
          tensor.shape().str());
  };
  const Tensor scale = one(".input_scale");
  if (is_float(scale.dtype())) grid.scale = *scale.to_f32().data<float>();
  if (!is_float(scale.dtype()) || !std::isnormal(grid.scale) || grid.scale < 0) {
    raise(ErrorKind::kCorrupt, "tensor '{}' is {} {}, but must be a positive scale",
          printable(module + ".input_scale"), dtype_name(scale.dtype()), grid.scale);
  }
  if (scheme == ActivationScheme::kInt8StaticAffine) {
    const Tensor zero_point = one(".input_zero_point");
    if (zero_point.dtype() != DType::kI8) {
      raise(ErrorKind::kCorrupt, "tensor '{}' is {}, but must be int8",
            printable(module + ".input_zero_point"), dtype_name(zero_point.dtype()));
    }
    grid.zero_point = *zero_point.data<std::int8_t>();
  }
  return grid;
}

}  // namespace aquatint
