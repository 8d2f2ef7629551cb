// GGUF files: values of every type, tensors of every kind, and files that do not hold together.
#include "formats/gguf_file.h"

#include <limits>

#include "formats/gguf_testing.h"
#include "formats/test_support.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::GgufWriter;
using testing::raw;
using testing::TempFolder;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

GgufContents parse(const std::string& file) {
  return parse_gguf(std::as_bytes(std::span(file.data(), file.size())), "x.gguf");
}

void expect_corrupt(const std::string& file, const std::string& text) {
  expect_error(ErrorKind::kCorrupt, text, [&] { parse(file); });
  expect_error(ErrorKind::kCorrupt, "'x.gguf': ", [&] { parse(file); });
}

void expect_unsupported(const std::string& file, const std::string& text) {
  expect_error(ErrorKind::kUnsupported, text, [&] { parse(file); });
}

TEST(GgufMetadata, ValuesOfEveryType) {
  GgufWriter writer;
  writer.value("u8", GgufType::kU8, raw(std::uint8_t{200}));
  writer.value("i8", GgufType::kI8, raw(std::int8_t{-3}));
  writer.value("u16", GgufType::kU16, raw(std::uint16_t{60000}));
  writer.value("i16", GgufType::kI16, raw(std::int16_t{-300}));
  writer.value("u32", GgufType::kU32, raw(std::uint32_t{4000000000}));
  writer.value("i32", GgufType::kI32, raw(std::int32_t{-70000}));
  writer.value("u64", GgufType::kU64, raw(std::uint64_t{1} << 40));
  writer.value("i64", GgufType::kI64, raw(-(std::int64_t{1} << 40)));
  writer.value("huge", GgufType::kU64, raw(~std::uint64_t{0}));
  writer.value("f64", GgufType::kF64, raw(2.5));
  writer.set("f32", 0.5f).set("yes", true).set("no", false).set("text", "a b");
  writer.set("texts", std::vector<std::string>{"one", "", "three"});
  writer.set("ints", std::vector<std::int32_t>{1, -2}).set("floats", std::vector<float>{0.25f});
  writer.set("none", std::vector<std::string>{});
  const std::string file = writer.bytes();
  const GgufMetadata m = parse(file).metadata;
  EXPECT_EQ(m.get_int("u8"), 200);
  EXPECT_EQ(m.get_int("i8"), -3);
  EXPECT_EQ(m.get_int("u16"), 60000);
  EXPECT_EQ(m.get_int("i16"), -300);
  EXPECT_EQ(m.get_int("u32"), 4000000000);
  EXPECT_EQ(m.get_int("i32"), -70000);
  EXPECT_EQ(m.get_int("u64"), std::int64_t{1} << 40);
  EXPECT_EQ(m.get_int("i64"), -(std::int64_t{1} << 40));
  EXPECT_EQ(m.get_number("f32"), 0.5);
  EXPECT_EQ(m.get_number("f64"), 2.5);
  EXPECT_EQ(m.get_number("i8"), -3.0);
  EXPECT_EQ(m.find_bool("yes"), true);
  EXPECT_EQ(m.find_bool("no"), false);
  EXPECT_EQ(m.get_string("text"), "a b");
  EXPECT_EQ(m.strings("texts"), (std::vector<std::string_view>{"one", "", "three"}));
  EXPECT_EQ(m.ints("ints"), (std::vector<std::int64_t>{1, -2}));
  EXPECT_EQ(m.floats("floats"), (std::vector<float>{0.25f}));
  EXPECT_TRUE(m.strings("none").empty());
  EXPECT_TRUE(m.has("none"));

  EXPECT_FALSE(m.find_int("absent") || m.find_number("absent") || m.find_bool("absent") ||
               m.find_string("absent") || m.has("absent"));
  EXPECT_TRUE(m.strings("absent").empty() && m.ints("absent").empty());
  const auto corrupt = ErrorKind::kCorrupt;
  expect_error(corrupt, "'x.gguf': 'absent' is missing", [&] { m.get_int("absent"); });
  expect_error(corrupt, "'text' must be an integer, but is string", [&] { m.get_int("text"); });
  expect_error(corrupt, "'huge' must be an integer", [&] { m.get_int("huge"); });
  expect_error(corrupt, "'yes' must be a number, but is bool", [&] { m.get_number("yes"); });
  expect_error(corrupt, "'u8' must be a bool", [&] { m.find_bool("u8"); });
  expect_error(corrupt, "'u8' must be a string", [&] { m.get_string("u8"); });
  expect_error(corrupt, "'ints' must be an integer, but is an array of int32",
               [&] { m.get_int("ints"); });
  expect_error(corrupt, "'text' must be an array of strings", [&] { m.strings("text"); });
  expect_error(corrupt, "'ints' must be an array of strings", [&] { m.strings("ints"); });
  expect_error(corrupt, "'texts' must be an array of integers", [&] { m.ints("texts"); });
  expect_error(corrupt, "'ints' must be an array of float32", [&] { m.floats("ints"); });
}

TEST(GgufFile, Tensors) {
  const Tensor plain = Tensor::zeros({3, 5}, DType::kF32);
  for (int i = 0; i < 15; ++i) plain.mutable_data<float>()[i] = static_cast<float>(i);
  std::string block = raw(f32_to_f16(0.5f));  // Q8_0 with values 0, 1/2, 1, …
  for (char i = 0; i < 32; ++i) block += i;
  const TempFolder folder;
  const auto path = folder.write(
      "x.gguf", GgufWriter()
                    .tensor("plain", plain)
                    .tensor("small", plain.to(DType::kBF16))
                    .tensor("half", plain.to(DType::kF16))
                    .tensor("blocks", {2, 3, 32}, 8, block + block + block + block + block + block)
                    .tensor("known", {1, 256}, 10, std::string(84, '\0'))
                    .bytes());
  const GgufFile file = GgufFile::open(path);
  EXPECT_EQ(file.tensor("plain").shape(), (Shape{3, 5}));
  EXPECT_EQ(file.tensor("plain").data<float>()[14], 14.0f);
  EXPECT_EQ(file.tensor("small").to_f32().data<float>()[7], 7.0f);
  EXPECT_EQ(file.dtype("half"), DType::kF16);
  EXPECT_EQ(file.dtype("blocks"), DType::kF32);
  const Tensor blocks = file.tensor("blocks");
  EXPECT_EQ(blocks.shape(), (Shape{2, 3, 32}));
  EXPECT_EQ(blocks.data<float>()[191], 15.5f);
  EXPECT_EQ(file.entries().at("blocks").nbytes, 6u * 34u);
  EXPECT_EQ(file.entries().at("blocks").dtype_name, "Q8_0");
  expect_error(ErrorKind::kUnsupported, "tensor 'known' has dtype Q2_K",
               [&] { file.tensor("known"); });
  expect_error(ErrorKind::kNotFound, "no tensor 'x'", [&] { file.tensor("x"); });
  file.release("blocks");
}

TEST(GgufFile, OtherAlignments) {
  const std::string file = GgufWriter(64)
                               .set("general.alignment", std::uint32_t{64})
                               .tensor("a", {1}, 24, "a")
                               .tensor("b", {1}, 24, "b")
                               .bytes();
  const auto tensors = parse(file).tensors;
  EXPECT_EQ(file[tensors.at("b").offset], 'b');
  EXPECT_EQ(tensors.at("b").offset % 64, 0u);
  for (const std::uint32_t bad : {0u, 4u, 12u, 1u << 24}) {
    expect_corrupt(GgufWriter().set("general.alignment", bad).bytes(), "general.alignment is");
  }
}

TEST(GgufFile, OtherFilesAndVersions) {
  expect_corrupt("", "not a GGUF file");
  expect_corrupt("GGML....", "not a GGUF file");
  EXPECT_TRUE(parse(GgufWriter().bytes(2)).tensors.empty());
  expect_unsupported(GgufWriter().bytes(1), "GGUF version 1 is not supported");
  expect_unsupported(GgufWriter().bytes(4), "GGUF version 4");
  expect_unsupported(GgufWriter().bytes(0x03000000), "GGUF of big-endian machines");
  const TempFolder folder;
  const auto part = folder.write(
      "x.gguf", GgufWriter().value("split.count", GgufType::kU16, raw(std::uint16_t{3})).bytes());
  expect_error(ErrorKind::kUnsupported, "is one of 3 parts", [&] { GgufFile::open(part); });
}

TEST(GgufFile, EveryTruncationIsRefused) {
  const std::string file = GgufWriter()
                               .set("a", "b")
                               .set("c", std::vector<std::string>{"d", "e"})
                               .set("f", std::vector<std::int32_t>{1, 2, 3})
                               .tensor("g", {8}, 0, std::string(32, 'x'))
                               .bytes();
  parse(file);
  for (std::size_t size = 0; size < file.size(); ++size) {
    expect_error(ErrorKind::kCorrupt, "x.gguf", [&] { parse(file.substr(0, size)); });
  }
}

TEST(GgufFile, ValuesThatLie) {
  const std::uint64_t huge = ~std::uint64_t{0};
  expect_corrupt(GgufWriter().value("a", GgufType::kString, raw(huge)).bytes(), "ends inside");
  expect_corrupt(GgufWriter().value("a", GgufType{13}, "").bytes(), "has type 13");
  expect_corrupt(GgufWriter().value("a", GgufType::kArray, raw(GgufType::kF64) + raw(huge)).bytes(),
                 "'a' says 18446744073709551615 elements of 8 bytes");
  expect_corrupt(
      GgufWriter().value("a", GgufType::kArray, raw(GgufType::kString) + raw(huge)).bytes(),
      "ends inside the metadata");
  expect_unsupported(
      GgufWriter().value("a", GgufType::kArray, raw(GgufType::kArray) + raw(huge)).bytes(),
      "'a' is an array of arrays");
  expect_corrupt(GgufWriter().value("a", GgufType::kBool, "\2").bytes(), "'a' is a bool of 2");
  expect_corrupt(GgufWriter().set("a", "b").set("a", "c").bytes(), "has the key 'a' twice");
  // Counts in the header beyond what is there.
  std::string counts = GgufWriter().bytes();
  std::memcpy(counts.data() + 8, &huge, sizeof(huge));
  expect_corrupt(counts, "ends inside the list of tensors");
  counts = GgufWriter().bytes();
  std::memcpy(counts.data() + 16, &huge, sizeof(huge));
  expect_corrupt(counts, "ends inside the metadata");
}

TEST(GgufFile, TensorsThatLie) {
  const std::string data(64, 'x');
  const auto with = [&](const std::vector<std::int64_t>& shape, std::uint32_t type,
                        std::uint64_t offset) {
    return GgufWriter().tensor_at("w", shape, type, offset, data).bytes();
  };
  EXPECT_EQ(parse(with({16}, 0, 0)).tensors.size(), 1u);
  expect_corrupt(with({17}, 0, 0), "tensor 'w' (68 bytes at 0 of the data");
  expect_corrupt(with({16}, 0, 32), "ends past the end of the file");
  expect_corrupt(with({1}, 0, 1ull << 63), "ends past the end of the file");
  expect_corrupt(with({1}, 0, 4), "begins at 4, not a multiple of 32");
  expect_corrupt(with({-1}, 0, 0), "more elements than can be counted");
  expect_corrupt(with({kMost, 2}, 24, 0), "more elements than can be counted");
  expect_corrupt(with({kMost, 2, 0}, 24, 0), "more elements than can be counted");
  expect_corrupt(with({kMost}, 0, 0), "more bytes than can be counted");
  expect_corrupt(with({1, 1, 1, 1, 1}, 0, 0), "has 5 dimensions");
  expect_corrupt(with({2, 33}, 8, 0),
                 "has rows of 33, not a multiple of the 32 of a block of Q8_0");
  expect_unsupported(with({2}, 4, 0), "has element type 4, which is not known");
  expect_corrupt(GgufWriter().tensor("w", {1}, 24, "x").tensor("w", {1}, 24, "x").bytes(),
                 "has two tensors 'w'");
  expect_corrupt(
      GgufWriter().tensor_at("v", {8}, 0, 0, data).tensor_at("w", {9}, 0, 0, data).bytes(),
      "tensors 'v' and 'w' share bytes");
  EXPECT_EQ(parse(with({0, 3}, 0, 0)).tensors.at("w").nbytes, 0u);
}

}  // namespace
}  // namespace aquatint
