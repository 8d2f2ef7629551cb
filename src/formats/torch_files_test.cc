// PyTorch checkpoints: every element type, views and shared storages, both forms of the file, and
// descriptions of tensors that do not fit their storages.
#include "formats/torch_files.h"

#include <algorithm>
#include <limits>

#include "formats/test_support.h"
#include "formats/torch_testing.h"
#include "testing/shared_data.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::raw;
using testing::TempFolder;
using testing::torch_bytes;
namespace pk = testing::pickle;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

std::map<std::string, TensorEntry> parse(const std::string& file) {
  return parse_torch_file(std::as_bytes(std::span(file.data(), file.size())), "x.bin");
}

// Elements 0, 1, 2, … of a type.
template <typename T>
std::string counting(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += raw(static_cast<T>(i));
  return bytes;
}

std::vector<float> floats(const Tensor& tensor) {
  const Tensor f32 = tensor.to_f32();
  const auto* values = f32.data<float>();
  return {values, values + f32.numel()};
}

class TorchFile : public ::testing::Test {
 protected:
  TorchFiles open(const std::string& bytes) {
    return TorchFiles::open_file(folder_.write("x.pt", bytes));
  }
  // A dict with the one tensor "w" over a float32 storage of 12 elements.
  static std::string one(std::int64_t offset, const std::vector<std::int64_t>& size,
                         const std::vector<std::int64_t>& strides) {
    const std::string tensor =
        pk::tensor(pk::storage("FloatStorage", "0", 12), offset, size, strides);
    return torch_bytes(pk::dict({{"w", tensor}}), {counting<float>(12)});
  }
  void expect_refused(const std::string& bytes, ErrorKind kind, const std::string& text) {
    expect_error(kind, text, [&] { open(bytes); });
    expect_error(kind, "x.pt': ", [&] { open(bytes); });
  }

  TempFolder folder_;
};

TEST_F(TorchFile, RowMajorTensorsAreViewsOfTheFile) {
  const TorchFiles files = open(one(2, {2, 3}, {3, 1}));
  const Tensor w = files.tensor("w");
  EXPECT_EQ(w.shape(), (Shape{2, 3}));
  EXPECT_EQ(floats(w), (std::vector<float>{2, 3, 4, 5, 6, 7}));
  const auto file = files.files()[0]->bytes();
  EXPECT_GE(w.bytes(), file.data());
  EXPECT_LT(w.bytes(), file.data() + file.size());
  EXPECT_EQ(files.total_bytes(), 24);
  files.release("w");
  files.release("not there");
  expect_error(ErrorKind::kNotFound, "no tensor 'v' among its 1", [&] { files.tensor("v"); });
}

TEST_F(TorchFile, OddStridesAreCopiedInOrder) {
  EXPECT_EQ(floats(open(one(0, {3, 2}, {1, 3})).tensor("w")),
            (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(floats(open(one(1, {2, 2, 2}, {1, 4, 2})).tensor("w")),
            (std::vector<float>{1, 3, 5, 7, 2, 4, 6, 8}));
  EXPECT_EQ(floats(open(one(0, {4}, {3})).tensor("w")), (std::vector<float>{0, 3, 6, 9}));
  EXPECT_EQ(floats(open(one(7, {3}, {0})).tensor("w")), (std::vector<float>{7, 7, 7}));
}

TEST_F(TorchFile, StridesOfDimensionsOfOneDoNotMatter) {
  const TorchFiles files = open(one(0, {1, 3, 1}, {77, 1, 99}));
  EXPECT_TRUE(files.entries().at("w").strides.empty());
  EXPECT_EQ(floats(files.tensor("w")), (std::vector<float>{0, 1, 2}));
}

TEST_F(TorchFile, EmptyAndScalarTensors) {
  EXPECT_EQ(open(one(0, {0, 5}, {5, 1})).tensor("w").numel(), 0);
  EXPECT_EQ(open(one(12, {0}, {1})).tensor("w").numel(), 0);
  EXPECT_EQ(floats(open(one(11, {}, {})).tensor("w")), (std::vector<float>{11}));
}

TEST_F(TorchFile, ElementTypes) {
  struct Case {
    const char* storage;
    std::string bytes;
    DType dtype;
  };
  const Case cases[] = {
      {"FloatStorage", counting<float>(4), DType::kF32},
      {"DoubleStorage", counting<double>(4), DType::kF32},
      {"HalfStorage", raw(std::uint64_t{0x4200'4000'3c00'0000}), DType::kF16},
      {"BFloat16Storage", raw(std::uint64_t{0x4040'4000'3f80'0000}), DType::kBF16},
      {"CharStorage", counting<std::int8_t>(4), DType::kI8},
      {"ByteStorage", counting<std::uint8_t>(4), DType::kU8},
      {"IntStorage", counting<std::int32_t>(4), DType::kI32},
  };
  for (const Case& c : cases) {
    const std::string storage = pk::storage(c.storage, "0", 4);
    const TorchFiles files =
        open(torch_bytes(pk::dict({{"w", pk::tensor(storage, 0, {4}, {1})},
                                   {"t", pk::tensor(storage, 0, {2, 2}, {1, 2})}}),
                         {c.bytes}));
    EXPECT_EQ(files.dtype("w"), c.dtype) << c.storage;
    EXPECT_EQ(floats(files.tensor("w")), (std::vector<float>{0, 1, 2, 3})) << c.storage;
    EXPECT_EQ(floats(files.tensor("t")), (std::vector<float>{0, 2, 1, 3})) << c.storage;
  }
  const TorchFiles longs = open(
      torch_bytes(pk::dict({{"w", pk::tensor(pk::storage("LongStorage", "0", 2), 0, {2}, {1})}}),
                  {counting<std::int64_t>(2)}));
  EXPECT_EQ(longs.dtype("w"), DType::kI64);
  const TorchFiles bools = open(torch_bytes(
      pk::dict({{"w", pk::tensor(pk::storage("BoolStorage", "0", 2), 0, {2}, {1})}}), {"\1\1"}));
  expect_error(ErrorKind::kUnsupported, "tensor 'w' has dtype BOOL", [&] { bools.tensor("w"); });
}

TEST_F(TorchFile, UntypedStorages) {
  const auto tensor = [](const std::string& type, std::int64_t bytes) {
    const std::string storage =
        pk::tuple({pk::text("storage"), pk::global("torch.storage", "UntypedStorage"),
                   pk::text("0"), pk::text("cpu"), pk::integer(bytes)}) +
        "Q";
    return pk::dict(
        {{"w", pk::call(pk::global("torch._utils", "_rebuild_tensor_v3"),
                        pk::tuple({storage, pk::integer(1), pk::integers({2}), pk::integers({1}),
                                   "\x89", pk::ordered_dict(), type}))}});
  };
  const std::string bytes = counting<float>(3);
  EXPECT_EQ(
      floats(open(torch_bytes(tensor(pk::global("torch", "float32"), 12), {bytes})).tensor("w")),
      (std::vector<float>{1, 2}));
  const TorchFiles small =
      open(torch_bytes(tensor(pk::global("torch", "float8_e4m3fn"), 12), {bytes}));
  expect_error(ErrorKind::kUnsupported, "F8_E4M3", [&] { small.tensor("w"); });
  expect_refused(torch_bytes(tensor(pk::global("torch", "float64"), 12), {bytes}),
                 ErrorKind::kCorrupt, "reaches past the 1 elements");
  expect_refused(torch_bytes(tensor(pk::text("float32"), 12), {bytes}), ErrorKind::kCorrupt,
                 "has no element type");
}

TEST_F(TorchFile, SharedStoragesCountOnce) {
  const std::string storage = pk::storage("FloatStorage", "0", 12);
  const TorchFiles files =
      open(torch_bytes(pk::dict({{"embedding", pk::tensor(storage, 0, {3, 4}, {4, 1})},
                                 {"head", pk::tensor(storage, 0, {3, 4}, {4, 1})}}),
                       {counting<float>(12)}));
  EXPECT_EQ(files.total_bytes(), 48);
  EXPECT_EQ(files.tensor("head").bytes(), files.tensor("embedding").bytes());
}

TEST_F(TorchFile, ParametersAndOrderedDicts) {
  const std::string tensor = pk::tensor(pk::storage("FloatStorage", "0", 2), 0, {2}, {1});
  const std::string parameter = pk::call(pk::global("torch._utils", "_rebuild_parameter"),
                                         pk::tuple({tensor, "\x88", pk::ordered_dict()}));
  // With a _metadata attribute, as state dicts of modules have.
  const std::string dict = pk::ordered_dict() + std::string("(") + pk::text("w") + parameter + "u" +
                           pk::dict({{"_metadata", pk::ordered_dict()}}) + "b";
  const TorchFiles files = open(torch_bytes(dict, {counting<float>(2)}));
  EXPECT_EQ(floats(files.tensor("w")), (std::vector<float>{0, 1}));
  expect_refused(
      torch_bytes(pk::dict({{"w", pk::call(pk::global("torch._utils", "_rebuild_parameter"),
                                           pk::tuple({parameter}))}}),
                  {counting<float>(2)}),
      ErrorKind::kCorrupt, "'w' is no tensor");
}

TEST_F(TorchFile, WhichDictHoldsTheTensors) {
  const std::string tensor = pk::tensor(pk::storage("FloatStorage", "0", 2), 0, {2}, {1});
  const std::vector<std::string> data{counting<float>(2)};
  const std::string inner = pk::dict({{"w", tensor}});
  for (const std::string wrapper : {"state_dict", "model_state_dict", "model"}) {
    const auto wrapped = pk::dict(
        {{"epoch", pk::integer(3)}, {"optimizer", pk::dict({{"w", tensor}})}, {wrapper, inner}});
    const TorchFiles files = open(torch_bytes(wrapped, data));
    EXPECT_EQ(files.entries().size(), 1u);
    EXPECT_TRUE(files.contains("w"));
  }
  const auto nested = pk::dict({{"a", pk::dict({{"w", tensor}})}, {"n", "N"}, {"t", tensor}});
  const TorchFiles files = open(torch_bytes(nested, data));
  EXPECT_EQ(files.entries().size(), 2u);
  EXPECT_TRUE(files.contains("a.w"));
  EXPECT_TRUE(files.contains("t"));
  expect_refused(torch_bytes(tensor, data), ErrorKind::kUnsupported, "holds no state dict");
  expect_refused(torch_bytes("]", {}), ErrorKind::kUnsupported, "holds no state dict");
  expect_refused(torch_bytes(pk::dict({{"w", tensor}, {"w", tensor}}), data), ErrorKind::kCorrupt,
                 "has two tensors 'w'");
  expect_refused(torch_bytes("}(N" + tensor + "u", data), ErrorKind::kCorrupt, "neither text nor");
  EXPECT_TRUE(parse(torch_bytes("}", {})).empty());
}

TEST_F(TorchFile, DictsThatHoldThemselves) {
  expect_refused(torch_bytes(std::string("}q\x01") + pk::text("a") + "h\x01s", {}),
                 ErrorKind::kCorrupt, "dicts inside dicts without end");
  // Each dict holds the one before 30 times: 30^14 ways to the first.
  std::string value = "}q\x01";
  for (char i = 1; i < 15; ++i) {
    value = std::string("(") + value + "}q" + static_cast<char>(i + 1) + "(";
    for (int k = 0; k < 30; ++k) value += pk::text(std::to_string(k)) + "h" + i;
    value += "ut";
  }
  expect_refused(
      torch_bytes(std::string("}(") + pk::text("a") + value + pk::text("b") + "h\x0fu", {}),
      ErrorKind::kCorrupt, "dicts inside dicts without end");
}

TEST_F(TorchFile, TensorsThatDoNotFit) {
  const auto corrupt = ErrorKind::kCorrupt;
  expect_refused(one(0, {13}, {1}), corrupt, "reaches past the 12 elements of its storage");
  expect_refused(one(12, {1}, {1}), corrupt, "reaches past");
  expect_refused(one(100, {}, {}), corrupt, "reaches past");
  expect_refused(one(0, {2, 2}, {11, 1}), corrupt, "reaches past");
  expect_refused(one(0, {2, 2}, {kMost, 1}), corrupt, "reaches past");
  expect_refused(one(kMost, {2}, {1}), corrupt, "reaches past");
  expect_refused(one(0, {kMost, kMost}, {1, 1}), corrupt, "more elements than can be counted");
  expect_refused(one(0, {kMost, kMost, 0}, {0, 0, 0}), corrupt,
                 "more elements than can be counted");
  expect_refused(one(0, {-1}, {1}), corrupt, "its size must be of whole numbers from 0, not -1");
  expect_refused(one(0, {2}, {-1}), corrupt, "its strides must be of whole numbers from 0, not -1");
  expect_refused(one(-4, {2}, {1}), corrupt, "its offset must be");
  expect_refused(one(0, {2, 3}, {1}), corrupt, "has 2 dimensions and 1 strides");
  expect_refused(one(0, std::vector<std::int64_t>(65, 1), {1}), corrupt, "are no list of numbers");
  // Elements that are the same ones again would take memory that the file does not have.
  expect_refused(one(0, {13}, {0}), ErrorKind::kUnsupported, "repeats the 12 elements");
  expect_refused(one(0, {kMost}, {0}), ErrorKind::kUnsupported, "repeats the 12 elements");
  const TorchFiles wide = open(one(0, {1, 1, 1, 1, 2}, {1, 1, 1, 1, 1}));
  expect_error(ErrorKind::kUnsupported, "has 5 dimensions", [&] { wide.tensor("w"); });
}

TEST_F(TorchFile, StoragesThatDoNotFit) {
  const auto with = [](const std::string& storage, const std::vector<std::string>& data) {
    return torch_bytes(pk::dict({{"w", pk::tensor(storage, 0, {1}, {1})}}), data);
  };
  const auto corrupt = ErrorKind::kCorrupt;
  const std::string four = counting<float>(4);
  expect_refused(with(pk::storage("FloatStorage", "0", 5), {four}), corrupt,
                 "storage '0' has 16 bytes; its 5 elements need 20");
  expect_refused(with(pk::storage("FloatStorage", "0", 3), {four}), corrupt, "need 12");
  expect_refused(with(pk::storage("FloatStorage", "1", 4), {four}), corrupt,
                 "storage '1' is missing");
  expect_refused(with(pk::storage("FloatStorage", "../version", 4), {four}), corrupt, "is missing");
  expect_refused(with(pk::storage("FloatStorage", "0", -1), {four}), corrupt, "has -1 elements");
  expect_refused(with(pk::storage("FloatStorage", "0", kMost), {four}), corrupt, "elements of 4");
  // One storage, two descriptions.
  const auto two = pk::dict({{"v", pk::tensor(pk::storage("IntStorage", "0", 4), 0, {1}, {1})},
                             {"w", pk::tensor(pk::storage("FloatStorage", "0", 4), 0, {1}, {1})}});
  expect_refused(torch_bytes(two, {four}), corrupt, "storage '0' is described in two ways");
}

TEST_F(TorchFile, PersistentIdsThatAreNoStorages) {
  const auto with = [](const std::string& id) {
    return torch_bytes(pk::dict({{"w", pk::tensor(id + "Q", 0, {1}, {1})}}), {});
  };
  const auto unsupported = ErrorKind::kUnsupported;
  expect_refused(with(pk::text("http://x")), unsupported, "is no storage of a tensor");
  expect_refused(with(pk::tuple({pk::text("module"), "N", "N", "N", "N"})), unsupported,
                 "is no storage of a tensor");
  // A persistent id of a persistent id.
  expect_refused(with(pk::tuple({pk::storage("FloatStorage", "0", 1)}) + "Q"), unsupported,
                 "is no storage of a tensor");
  expect_refused(with(pk::tuple({pk::text("storage"), pk::text("torch.FloatStorage"), pk::text("0"),
                                 pk::text("cpu"), pk::integer(1)})),
                 ErrorKind::kCorrupt, "the description of a storage");
  expect_refused(
      torch_bytes(
          pk::dict({{"w", pk::call(pk::global("torch._utils", "_rebuild_tensor_v2"), ")")}}), {}),
      ErrorKind::kCorrupt, "is not (storage, offset");
}

TEST_F(TorchFile, AttacksAreRefusedByName) {
  const std::string attack =
      pk::call(pk::global("os", "system"), pk::tuple({pk::text("touch pwned")}));
  expect_refused(torch_bytes(pk::dict({{"w", attack}}), {}), ErrorKind::kUnsupported,
                 "its pickle asks for 'os.system'");
  EXPECT_FALSE(std::filesystem::exists("pwned"));
}

TEST_F(TorchFile, OtherFiles) {
  expect_refused("", ErrorKind::kCorrupt, "no PyTorch checkpoint");
  expect_refused("\x80\x02}.", ErrorKind::kCorrupt, "no PyTorch checkpoint");
  expect_refused(testing::zip_bytes({{"a/b", "c"}}), ErrorKind::kUnsupported,
                 "a ZIP file without data.pkl");
  expect_refused(testing::zip_bytes({{"a/data.pkl", "c"}, {"b/data.pkl", "c"}}),
                 ErrorKind::kCorrupt, "two files data.pkl");
  expect_refused(testing::zip_bytes({{"a/data.pkl", pk::file("}")}, {"a/byteorder", "big"}}),
                 ErrorKind::kUnsupported, "its byte order is 'big'");
  // The pickle ends inside another entry.
  expect_refused(testing::zip_bytes({{"a/data.pkl", "\x80\x02}"}, {"a/x", "."}}),
                 ErrorKind::kCorrupt, "ends inside a pickle");
}

// The form before PyTorch 1.6.
class LegacyTorchFile : public TorchFile {
 protected:
  static constexpr std::string_view kMagic{"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"};
  static std::string storage(std::int64_t numel) {
    return pk::tuple({pk::text("storage"), pk::global("torch", "FloatStorage"), pk::text("94"),
                      pk::text("cpu"), pk::integer(numel), "N"}) +
           "Q";
  }
  static std::string bytes(const std::string& object, const std::string& data,
                           const std::string& keys = "", int version = 1001,
                           const char* little = "\x88") {
    return pk::file(std::string("\x8a\x0a").append(kMagic)) + pk::file(pk::integer(version)) +
           pk::file(
               pk::dict({{"protocol_version", pk::integer(1001)}, {"little_endian", little}})) +
           pk::file(object) + pk::file("](" + (keys.empty() ? pk::text("94") : keys) + "e") + data;
  }
  static std::string object(std::int64_t numel) {
    return pk::dict({{"w", pk::tensor(storage(numel), 1, {2}, {1})}});
  }
  const std::string data_ = raw(std::int64_t{3}) + counting<float>(3);
};

TEST_F(LegacyTorchFile, IsRead) {
  EXPECT_EQ(floats(open(bytes(object(3), data_)).tensor("w")), (std::vector<float>{1, 2}));
}

TEST_F(LegacyTorchFile, WhatDoesNotFit) {
  const auto corrupt = ErrorKind::kCorrupt;
  expect_refused(bytes(object(4), data_), corrupt, "has 3 elements, and 4 by its description");
  expect_refused(bytes(object(3), data_ + "x"), corrupt, "1 bytes after them");
  expect_refused(bytes(object(3), data_.substr(0, 15)), corrupt, "ends inside a storage");
  expect_refused(bytes(object(3), raw(std::int64_t{-3}) + data_.substr(8)), corrupt,
                 "has -3 elements");
  expect_refused(bytes(object(3), data_, pk::text("95")), corrupt, "names '95', which no tensor");
  expect_refused(bytes(object(3), data_ + data_, pk::text("94") + pk::text("94")), corrupt,
                 "names '94'");
  expect_refused(bytes("}", "", "N"), corrupt, "list of storages");
  expect_refused(bytes(object(3), data_, "", 1000), ErrorKind::kUnsupported, "version 1000");
  expect_refused(bytes(object(3), data_, "", 1001, "\x89"), ErrorKind::kUnsupported,
                 "little-endian");
  const std::string view = pk::tuple({pk::text("94"), pk::integer(0), pk::integer(1)});
  const auto viewed = pk::tuple({pk::text("storage"), pk::global("torch", "FloatStorage"),
                                 pk::text("94"), pk::text("cpu"), pk::integer(3), view}) +
                      "Q";
  expect_refused(bytes(pk::dict({{"w", pk::tensor(viewed, 0, {1}, {1})}}), data_),
                 ErrorKind::kUnsupported, "is a view of another");
}

class TorchFolder : public TorchFile {};

TEST_F(TorchFolder, WhichFileIsTaken) {
  expect_error(ErrorKind::kNotFound, "neither pytorch_model.bin nor",
               [&] { TorchFiles::open_folder(folder_.path()); });
  EXPECT_FALSE(TorchFiles::is_in(folder_.path()));
  const auto named = [&](const std::string& name) {
    return testing::state_dict_bytes({{name, Tensor::zeros({2}, DType::kF32)}});
  };
  folder_.write("training_args.bin", "not taken");
  folder_.write("model.pt", named("pt"));
  EXPECT_TRUE(TorchFiles::is_in(folder_.path()));
  EXPECT_TRUE(TorchFiles::open_folder(folder_.path()).contains("pt"));
  folder_.write("other.pth", named("pth"));
  expect_error(ErrorKind::kUnsupported, "2 PyTorch files ('model.pt', 'other.pth'",
               [&] { TorchFiles::open_folder(folder_.path()); });
  folder_.write("a.bin", named("a"));
  folder_.write("b.bin", named("b"));
  folder_.write("pytorch_model.bin.index.json", R"({"weight_map": {"a": "a.bin", "b": "b.bin"}})");
  const TorchFiles shards = TorchFiles::open_folder(folder_.path());
  EXPECT_EQ(shards.files().size(), 2u);
  EXPECT_EQ(shards.tensor("b").numel(), 2);
  folder_.write("pytorch_model.bin", named("single"));
  EXPECT_TRUE(TorchFiles::open_folder(folder_.path()).contains("single"));
}

TEST_F(TorchFolder, BadIndexes) {
  folder_.write("pytorch_model.bin.index.json", R"({"weight_map": {"a": "../a.bin"}})");
  expect_error(ErrorKind::kCorrupt, "'../a.bin', which is not the name of a file",
               [&] { TorchFiles::open_folder(folder_.path()); });
  folder_.write("pytorch_model.bin.index.json", R"({"weight_map": {"a": "a.bin"}})");
  expect_error(ErrorKind::kNotFound, "1 of 1 files it lists is missing: a.bin",
               [&] { TorchFiles::open_folder(folder_.path()); });
}

// A file that torch.save wrote: maxima of activations by module.
TEST(TorchReal, ActivationScales) {
  AQUATINT_SHARED_PATH(path, "data/act_scales/mamba-2.8b-hf.pt");
  const TorchFiles files = TorchFiles::open_file(path);
  EXPECT_EQ(files.entries().size(), 257u);
  const Tensor scales = files.tensor("backbone.layers.0.mixer.x_proj");
  EXPECT_EQ(scales.shape(), (Shape{5120}));
  const std::vector<float> values = floats(scales);  // as torch.load gives them
  EXPECT_EQ(values[0], 0.1868896484375f);
  EXPECT_EQ(*std::min_element(values.begin(), values.end()), 0.0618896484375f);
  EXPECT_EQ(*std::max_element(values.begin(), values.end()), 5.28125f);
}

}  // namespace
}  // namespace aquatint
