#include "formats/compressed_tensors.h"

#include <fmt/core.h>

#include <cstring>
#include <random>

#include "formats/test_support.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::TempFolder;

template <typename T>
Tensor tensor_of(Shape shape, DType dtype, const std::vector<T>& values) {
  Tensor tensor = Tensor::empty(shape, dtype);
  EXPECT_EQ(tensor.nbytes(), values.size() * sizeof(T));
  std::memcpy(tensor.mutable_bytes(), values.data(), tensor.nbytes());
  return tensor;
}

Tensor int8_tensor(Shape shape, const std::vector<std::int8_t>& values) {
  return tensor_of(shape, DType::kI8, values);
}

template <typename T>
std::vector<T> values_of(const Tensor& tensor) {
  std::vector<T> values(static_cast<std::size_t>(tensor.numel()));
  std::memcpy(values.data(), tensor.bytes(), tensor.nbytes());
  return values;
}

Tensor random_int8(Shape shape, int low, int high, std::mt19937& random) {
  std::uniform_int_distribution<int> pick(low, high);
  Tensor tensor = Tensor::empty(shape, DType::kI8);
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    tensor.mutable_data<std::int8_t>()[i] = static_cast<std::int8_t>(pick(random));
  }
  return tensor;
}

QuantizedMatrix random_matrix(const WeightScheme& scheme, std::int64_t rows, std::int64_t columns,
                              std::mt19937& random) {
  QuantizedMatrix matrix;
  matrix.scheme = scheme;
  matrix.values = random_int8({rows, columns}, scheme.qmin(), scheme.qmax(), random);
  const bool tensor_wide = scheme.granularity == Granularity::kTensor;
  const Shape shape = tensor_wide ? Shape{1, 1} : Shape{rows, scheme.groups(columns)};
  matrix.scales = Tensor::empty(shape, DType::kF32);
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    matrix.scales.mutable_data<float>()[i] = static_cast<float>(random() % 128 + 128) / 4096.0f;
  }
  if (!scheme.symmetric)
    matrix.zero_points = random_int8(shape, scheme.qmin(), scheme.qmax(), random);
  return matrix;
}

SafetensorsSet store(const TempFolder& folder,
                     const std::vector<std::pair<std::string, Tensor>>& tensors) {
  write_safetensors(folder.path() / "model.safetensors", tensors);
  return SafetensorsSet::open_folder(folder.path());
}

TEST(PackInt32, PacksFourBitsFromTheLowEnd) {
  // u = 0 1 2 … 15, then 8 of the next word's low nibble.
  std::vector<std::int8_t> values;
  for (int i = -8; i < 8; ++i) values.push_back(static_cast<std::int8_t>(i));
  values.push_back(0);
  const Tensor packed = pack_int32(int8_tensor({1, 17}, values), 4);
  EXPECT_EQ(values_of<std::uint32_t>(packed),
            (std::vector<std::uint32_t>{0x76543210u, 0xfedcba98u, 0x8u}));
}

TEST(PackInt32, PacksEightAndTwoBits) {
  const Tensor eight = pack_int32(int8_tensor({2, 2}, {-128, 127, 0, -1}), 8);
  EXPECT_EQ(values_of<std::uint32_t>(eight), (std::vector<std::uint32_t>{0xff00u, 0x7f80u}));
  const Tensor two = pack_int32(int8_tensor({1, 4}, {-2, -1, 0, 1}), 2);
  EXPECT_EQ(values_of<std::uint32_t>(two), (std::vector<std::uint32_t>{0xe4u}));
}

// What pack_to_int32 of compressed-tensors 0.20.0 gives for values (5 n + 3 k) mod 2^bits -
// 2^(bits-1), n < 2, k < 35.
TEST(PackInt32, AgreesWithTheLibrary) {
  const std::vector<std::pair<int, std::vector<std::uint32_t>>> expected = {
      {2, {0x6c6c6c6cu, 0x6c6c6c6cu, 0x0000002cu, 0xb1b1b1b1u, 0xb1b1b1b1u, 0x00000031u}},
      {3,
       {0x98abc398u, 0xc398abc3u, 0xabc398abu, 0x00000198u, 0xc55e1cc5u, 0x1cc55e1cu, 0x5e1cc55eu,
        0x000000c5u}},
      {4,
       {0x52fc9630u, 0xda741eb8u, 0x52fc9630u, 0xda741eb8u, 0x00000630u, 0xa741eb85u, 0x2fc9630du,
        0xa741eb85u, 0x2fc9630du, 0x00000b85u}},
      {5,
       {0x9ec49860u, 0x40fb78acu, 0xda706a8eu, 0x6828bfccu, 0xeeaf48b9u, 0x00001860u, 0xe9172d05u,
        0x930c1dd5u, 0x6f1593d8u, 0x0d51c81fu, 0x17f99b4eu, 0x00002d05u}},
      {6,
       {0xcc2460c0u, 0xe6d85523u, 0xb6a9e485u, 0xfce76cf0u, 0xe2c8142fu, 0x75a5d444u, 0x000268e0u,
        0x1138b205u, 0x381d6975u, 0xcafb299au, 0x01fbbe35u, 0x340d2871u, 0x89f71959u, 0x0002ba25u}},
      {7,
       {0xc1218180u, 0x982a4878u, 0x3a44278du, 0x99b05aa9u, 0x09fbc72du, 0x33a5c88bu, 0xbb6abd4au,
        0x0019b1e0u, 0x11c2c405u, 0x1d345ca1u, 0x6294c8d0u, 0xdc3564bdu, 0x1e2417ceu, 0xd4e84d95u,
        0xc57ee59au, 0x001af465u}},
      {8,
       {0x09060300u, 0x15120f0cu, 0x211e1b18u, 0x2d2a2724u, 0x39363330u, 0x45423f3cu, 0x514e4b48u,
        0x5d5a5754u, 0x00666360u, 0x0e0b0805u, 0x1a171411u, 0x2623201du, 0x322f2c29u, 0x3e3b3835u,
        0x4a474441u, 0x5653504du, 0x625f5c59u, 0x006b6865u}},
  };
  for (const auto& [bits, words] : expected) {
    std::vector<std::int8_t> values;
    for (int n = 0; n < 2; ++n) {
      for (int k = 0; k < 35; ++k) {
        values.push_back(
            static_cast<std::int8_t>((5 * n + 3 * k) % (1 << bits) - (1 << (bits - 1))));
      }
    }
    const Tensor plain = int8_tensor({2, 35}, values);
    const Tensor packed = pack_int32(plain, bits);
    EXPECT_EQ(values_of<std::uint32_t>(packed), words) << bits << " bits";
    EXPECT_EQ(values_of<std::int8_t>(unpack_int32(packed, bits, 35)), values) << bits << " bits";
  }
}

TEST(PackInt32, RoundTripsAllBitsAndWidths) {
  std::mt19937 random(1);
  for (int bits = 2; bits <= 8; ++bits) {
    for (std::int64_t columns : {1, 2, 5, 10, 11, 31, 32, 33, 64, 100, 257}) {
      const Tensor values =
          random_int8({3, columns}, -(1 << (bits - 1)), (1 << (bits - 1)) - 1, random);
      const Tensor packed = pack_int32(values, bits);
      EXPECT_EQ(packed.dim(1), (columns * bits + 31) / 32);
      EXPECT_EQ(values_of<std::int8_t>(unpack_int32(packed, bits, columns)),
                values_of<std::int8_t>(values));
    }
  }
}

TEST(PackInt32, ReadsTheOlderFormWithPaddedWords) {
  // 3 bits, 10 values a word: 200 values in 20 words, where the dense form has 19.
  std::vector<std::int8_t> values(200);
  std::vector<std::uint32_t> words(20, 0);
  for (std::size_t k = 0; k < 200; ++k) {
    values[k] = static_cast<std::int8_t>(static_cast<int>(k * 5 % 8) - 4);
    words[k / 10] |= static_cast<std::uint32_t>(k * 5 % 8) << (k % 10 * 3);
  }
  const Tensor packed = tensor_of({1, 20}, DType::kI32, words);
  EXPECT_EQ(values_of<std::int8_t>(unpack_int32(packed, 3, 200)), values);
  expect_error(ErrorKind::kCorrupt, "rows of 20 words for 300 values of 3 bits, which take 29",
               [&] { unpack_int32(packed, 3, 300); });
}

TEST(CompressedTensors, RoundTripsStaticScales) {
  std::mt19937 random(2);
  const ModuleScheme scheme{{8, true, Granularity::kRow, 0}, ActivationScheme::kInt8StaticAffine};
  const QuantizedMatrix matrix = random_matrix(scheme.weights, 3, 8, random);
  const StaticScale input{0.0123456789f, -77};
  const TempFolder folder;
  const auto tensors =
      to_compressed_tensors("m.q", scheme, matrix, DType::kBF16, /*transposed=*/false, input);
  const auto files = store(folder, tensors);
  EXPECT_EQ(read_static_scale(files, "m.q", scheme.activations), input);
  EXPECT_EQ(read_static_scale(files, "m.q", ActivationScheme::kInt8Static).zero_point, 0);
}

TEST(CompressedTensors, RefusesBadStaticScales) {
  const auto refuses = [](const char* part, Tensor tensor, const std::string& text) {
    std::vector<std::pair<std::string, Tensor>> tensors = {
        {"m.input_scale", Tensor::zeros({1}, DType::kF32)},
        {"m.input_zero_point", Tensor::zeros({1}, DType::kI8)}};
    *tensors[0].second.mutable_data<float>() = 0.5f;
    for (auto& [name, value] : tensors) {
      if (name == std::string("m.") + part) value = tensor;
    }
    const TempFolder folder;
    try {
      read_static_scale(store(folder, tensors), "m", ActivationScheme::kInt8StaticAffine);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  };
  refuses("input_scale", Tensor::zeros({1}, DType::kF32), "must be a positive scale");
  refuses("input_scale", Tensor::zeros({2}, DType::kF32), "must be one value");
  refuses("input_scale", Tensor::zeros({1}, DType::kI32), "must be a positive scale");
  Tensor bad = Tensor::zeros({1}, DType::kF32);
  *bad.mutable_data<float>() = std::numeric_limits<float>::infinity();
  refuses("input_scale", bad, "must be a positive scale");
  refuses("input_zero_point", Tensor::zeros({1}, DType::kF32), "must be int8");
}

TEST(CompressedTensors, RoundTripsEveryScheme) {
  std::mt19937 random(2);
  for (int bits = 2; bits <= 8; ++bits) {
    for (const bool symmetric : {true, false}) {
      for (const auto activations :
           {ActivationScheme::kFloat, ActivationScheme::kInt8Dynamic, ActivationScheme::kInt8Static,
            ActivationScheme::kInt8StaticAffine}) {
        for (const auto& [granularity, group] :
             {std::pair(Granularity::kTensor, 0), std::pair(Granularity::kRow, 0),
              std::pair(Granularity::kGroup, 16)}) {
          const ModuleScheme scheme{{bits, symmetric, granularity, group}, activations};
          SCOPED_TRACE(scheme.weights.str() + " " + activation_scheme_name(activations));
          const QuantizedMatrix matrix = random_matrix(scheme.weights, 37, 48, random);
          const TempFolder folder;
          const auto tensors = to_compressed_tensors("m.q", scheme, matrix, DType::kBF16);
          const auto infos = compressed_tensor_infos("m.q", scheme, 37, 48, DType::kBF16);
          ASSERT_EQ(infos.size(), tensors.size());
          for (std::size_t i = 0; i < infos.size(); ++i) EXPECT_EQ(infos[i].name, tensors[i].first);
          const QuantizedMatrix back =
              from_compressed_tensors(store(folder, tensors), "m.q", scheme);
          EXPECT_EQ(values_of<std::int8_t>(back.values), values_of<std::int8_t>(matrix.values));
          EXPECT_EQ(values_of<float>(back.scales), values_of<float>(matrix.scales));
          EXPECT_EQ(back.zero_points.defined(), !symmetric);
          if (!symmetric) {
            EXPECT_EQ(values_of<std::int8_t>(back.zero_points),
                      values_of<std::int8_t>(matrix.zero_points));
          }
        }
      }
    }
  }
}

TEST(CompressedTensors, HasTheLayoutsOfTheFormat) {
  std::mt19937 random(3);
  const ModuleScheme packed{{4, false, Granularity::kGroup, 16}, ActivationScheme::kFloat};
  const auto infos = compressed_tensor_infos("m", packed, 37, 48, DType::kF16);
  ASSERT_EQ(infos.size(), 4u);
  EXPECT_EQ(infos[0].name, "m.weight_packed");
  EXPECT_EQ(infos[0].shape, (Shape{37, 6}));
  EXPECT_EQ(infos[1].dtype, DType::kI64);
  EXPECT_EQ(infos[2].shape, (Shape{37, 3}));
  EXPECT_EQ(infos[3].name, "m.weight_zero_point");
  EXPECT_EQ(infos[3].dtype, DType::kI32);
  EXPECT_EQ(infos[3].shape, (Shape{5, 3}));  // ceil(37 / 8) words down the first dimension

  QuantizedMatrix matrix = random_matrix(packed.weights, 37, 48, random);
  const auto tensors = to_compressed_tensors("m", packed, matrix, DType::kF16);
  EXPECT_EQ(values_of<std::int64_t>(tensors[1].second), (std::vector<std::int64_t>{37, 48}));
  const auto words = values_of<std::uint32_t>(tensors[3].second);
  for (int n = 0; n < 37; ++n) {
    for (int g = 0; g < 3; ++g) {
      const auto word = words[static_cast<std::size_t>(n / 8 * 3 + g)];
      EXPECT_EQ(static_cast<int>(word >> (n % 8 * 4) & 15) - 8, matrix.zero_point(n, g));
    }
  }
  const ModuleScheme plain{{4, false, Granularity::kGroup, 16}, ActivationScheme::kInt8Dynamic};
  const auto plain_infos = compressed_tensor_infos("m", plain, 37, 48, DType::kF16);
  ASSERT_EQ(plain_infos.size(), 3u);
  EXPECT_EQ(plain_infos[0].name, "m.weight");
  EXPECT_EQ(plain_infos[0].dtype, DType::kI8);
  EXPECT_EQ(plain_infos[0].shape, (Shape{37, 48}));
  EXPECT_EQ(plain_infos[2].dtype, DType::kI8);
  EXPECT_EQ(plain_infos[2].shape, (Shape{37, 3}));
  expect_error(ErrorKind::kUnsupported, "'m': 40 columns are not a multiple of the group size 16",
               [&] { compressed_tensor_infos("m", packed, 37, 40, DType::kF16); });
}

TEST(CompressedTensors, ReadsEitherFormatWhateverTheSchemeSays) {
  std::mt19937 random(4);
  const WeightScheme weights{8, true, Granularity::kRow, 0};
  const ModuleScheme packed{weights, ActivationScheme::kFloat};
  const ModuleScheme plain{weights, ActivationScheme::kInt8Dynamic};
  const QuantizedMatrix matrix = random_matrix(weights, 5, 7, random);
  for (const auto& [written, read] : {std::pair(packed, plain), std::pair(plain, packed)}) {
    const TempFolder folder;
    const auto set = store(folder, to_compressed_tensors("m", written, matrix, DType::kF32));
    EXPECT_EQ(values_of<std::int8_t>(from_compressed_tensors(set, "m", read).values),
              values_of<std::int8_t>(matrix.values));
  }
}

TEST(CompressedTensors, StoresEmbeddingsAsAskedFor) {
  const WeightScheme weights{8, true, Granularity::kRow, 0};
  const auto first = [&](WeightLayout layout, ActivationScheme activations) {
    return compressed_tensor_infos("m", {weights, activations, layout}, 3, 8, DType::kF32)[0].name;
  };
  EXPECT_EQ(first(WeightLayout::kInferred, ActivationScheme::kFloat), "m.weight_packed");
  EXPECT_EQ(first(WeightLayout::kInts, ActivationScheme::kFloat), "m.weight");
  EXPECT_EQ(first(WeightLayout::kPacked, ActivationScheme::kInt8Dynamic), "m.weight_packed");
}

TEST(CompressedTensors, RefusesScalesThatWouldChange) {
  std::mt19937 random(5);
  const ModuleScheme scheme{{8, true, Granularity::kRow, 0}, ActivationScheme::kFloat};
  QuantizedMatrix matrix = random_matrix(scheme.weights, 2, 8, random);
  matrix.scales.mutable_data<float>()[0] = 0.1f;
  EXPECT_THROW(to_compressed_tensors("m", scheme, matrix, DType::kBF16), std::logic_error);
  to_compressed_tensors("m", scheme, matrix, DType::kF32);
}

// A good module of 4 rows and 32 columns in which one tensor is replaced.
class DamagedModule : public ::testing::Test {
 protected:
  using Tensors = std::vector<std::pair<std::string, Tensor>>;

  Tensors good(bool symmetric, ActivationScheme activations) {
    scheme_ = {{4, symmetric, Granularity::kGroup, 16}, activations};
    return to_compressed_tensors("m", scheme_, random_matrix(scheme_.weights, 4, 32, random_),
                                 DType::kF32);
  }
  void expect(ErrorKind kind, Tensors tensors, const std::string& name, const Tensor& replacement,
              const std::string& message) {
    std::erase_if(tensors, [&](const auto& t) { return t.first == "m." + name; });
    if (replacement.defined()) tensors.emplace_back("m." + name, replacement);
    const TempFolder folder;
    const SafetensorsSet set = store(folder, tensors);
    expect_error(kind, message, [&] { from_compressed_tensors(set, "m", scheme_); });
  }
  std::mt19937 random_{6};
  ModuleScheme scheme_;
};

TEST_F(DamagedModule, Packed) {
  const Tensors t = good(false, ActivationScheme::kFloat);
  const auto i64 = [](std::int64_t a, std::int64_t b) {
    return tensor_of<std::int64_t>({2}, DType::kI64, {a, b});
  };
  const Tensor none;
  expect(ErrorKind::kNotFound, t, "weight_packed", none, "no tensor 'm.weight'");
  expect(ErrorKind::kNotFound, t, "weight_shape", none, "no tensor 'm.weight_shape'");
  expect(ErrorKind::kNotFound, t, "weight_scale", none, "no tensor 'm.weight_scale'");
  expect(ErrorKind::kNotFound, t, "weight_zero_point", none, "no tensor 'm.weight_zero_point'");
  expect(ErrorKind::kCorrupt, t, "weight_packed", Tensor::zeros({4, 4}, DType::kF32),
         "tensor 'm.weight_packed' is float32 [4, 4], but must be an int32 matrix");
  expect(ErrorKind::kCorrupt, t, "weight_packed", Tensor::zeros({4, 5}, DType::kI32),
         "tensor 'm.weight_packed': rows of 5 words for 32 values");
  expect(ErrorKind::kCorrupt, t, "weight_packed", Tensor::zeros({4, 3}, DType::kI32),
         "says [4, 32], which does not fit 'm.weight_packed' of shape [4, 3]");
  expect(ErrorKind::kCorrupt, t, "weight_packed", Tensor::zeros({4, 0}, DType::kI32),
         "must be an int32 matrix");
  expect(ErrorKind::kCorrupt, t, "weight_shape", i64(5, 32), "says [5, 32], which does not fit");
  expect(ErrorKind::kCorrupt, t, "weight_shape", i64(4, -1), "says [4, -1]");
  expect(ErrorKind::kCorrupt, t, "weight_shape", i64(4, INT64_MAX), "which does not fit");
  expect(ErrorKind::kCorrupt, t, "weight_shape", Tensor::zeros({3}, DType::kI64),
         "must be 2 integers");
  expect(ErrorKind::kCorrupt, t, "weight_scale", Tensor::zeros({4, 3}, DType::kF32),
         "tensor 'm.weight_scale' is float32 [4, 3], but must be floating-point [4, 2]");
  expect(ErrorKind::kCorrupt, t, "weight_scale", Tensor::zeros({4, 2}, DType::kI32), "is int32");
  expect(ErrorKind::kCorrupt, t, "weight_zero_point", Tensor::zeros({2, 2}, DType::kI32),
         "tensor 'm.weight_zero_point': rows of 2 words for 4 values");
  expect(ErrorKind::kCorrupt, t, "weight_zero_point", Tensor::zeros({4, 2}, DType::kF32),
         "but must be int8 [4, 2] or packed int32");
  expect(ErrorKind::kUnsupported, t, "weight_g_idx", Tensor::zeros({32}, DType::kI32),
         "tensor 'm.weight_g_idx': columns in another order");
  expect(ErrorKind::kUnsupported, t, "input_scale", Tensor::zeros({1}, DType::kF32),
         "says nothing of static activations");
  Tensor scales = Tensor::zeros({4, 2}, DType::kF32);
  scales.mutable_data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  expect(ErrorKind::kNumeric, t, "weight_scale", scales, "'m.weight_packed': scale 3 is nan");
  scheme_.weights.group_size = 12;
  expect(ErrorKind::kCorrupt, t, "", none, "32 columns are not a multiple of the group size 12");
}

TEST_F(DamagedModule, Plain) {
  const Tensors t = good(false, ActivationScheme::kInt8Dynamic);
  expect(ErrorKind::kCorrupt, t, "weight", Tensor::zeros({4, 32}, DType::kF32),
         "tensor 'm.weight' is float32 [4, 32], but must be an int8 matrix");
  std::vector<std::int8_t> values(128, 0);
  values[5] = 8;
  expect(ErrorKind::kCorrupt, t, "weight", int8_tensor({4, 32}, values),
         "'m.weight': value 8 at 5 is outside [-8, 7]");
  expect(ErrorKind::kCorrupt, t, "weight_zero_point",
         int8_tensor({4, 2}, {0, 0, 0, -9, 0, 0, 0, 0}),
         "tensor 'm.weight_zero_point': zero point -9 at 3 is outside [-8, 7]");
}

TEST_F(DamagedModule, SymmetricZeroPointsMustBeZero) {
  Tensors t = good(true, ActivationScheme::kInt8Dynamic);
  expect(ErrorKind::kCorrupt, t, "weight_zero_point", int8_tensor({4, 2}, {0, 0, 0, 1, 0, 0, 0, 0}),
         "zero point 1 at 3 is outside [0, 0]");
  t.emplace_back("m.weight_zero_point", Tensor::zeros({4, 2}, DType::kI8));
  const TempFolder folder;
  EXPECT_FALSE(from_compressed_tensors(store(folder, t), "m", scheme_).zero_points.defined());
}

TEST(CompressedTensors, AcceptsFewerDimensionsOfScales) {
  std::mt19937 random(7);
  for (const auto& [granularity, shape] :
       {std::pair(Granularity::kRow, Shape{4}), std::pair(Granularity::kTensor, Shape{})}) {
    const ModuleScheme scheme{{8, true, granularity, 0}, ActivationScheme::kInt8Dynamic};
    auto tensors = to_compressed_tensors("m", scheme, random_matrix(scheme.weights, 4, 8, random),
                                         DType::kF32);
    tensors[1].second = tensors[1].second.reshape(shape);
    const TempFolder folder;
    EXPECT_EQ(from_compressed_tensors(store(folder, tensors), "m", scheme).scales.shape().rank(),
              2);
  }
}

}  // namespace
}  // namespace aquatint
