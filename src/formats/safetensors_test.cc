#include "formats/safetensors.h"

#include <fmt/core.h>

#include "formats/test_support.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::safetensors_bytes;
using testing::TempFolder;

SafetensorsHeader parse(const std::string& bytes) {
  return parse_safetensors_header(std::as_bytes(std::span(bytes)), "model.safetensors");
}

void expect_corrupt(const std::string& header, const std::string& data, std::string_view text) {
  expect_error(ErrorKind::kCorrupt, text, [&] { parse(safetensors_bytes(header, data)); });
}

// {"<name>": {...}} with two F32 numbers.
std::string one_tensor(std::string_view name = "a") {
  return fmt::format(R"({{"{}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}})", name);
}

TEST(Safetensors, ReadsTypesShapesAndMetadata) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I8","shape":[3],"data_offsets":[8,11]},)"
      R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})";
  const SafetensorsHeader parsed = parse(safetensors_bytes(header, std::string(11, '\1')));
  ASSERT_EQ(parsed.entries.size(), 2u);
  EXPECT_EQ(parsed.metadata.at("format"), "pt");
  const TensorEntry& b = parsed.entries.at("b");
  EXPECT_EQ(b.dtype_name, "I8");
  EXPECT_EQ(b.shape, std::vector<std::int64_t>{3});
  EXPECT_EQ(b.offset, 8 + header.size() + 8);
  EXPECT_EQ(b.nbytes, 3u);
}

TEST(Safetensors, AcceptsEmptyHeaderWithPadding) {
  EXPECT_TRUE(parse(safetensors_bytes("{}")).entries.empty());
  EXPECT_TRUE(parse(safetensors_bytes("{}      ")).entries.empty());
  EXPECT_TRUE(parse(safetensors_bytes(" \n\t{}  ")).entries.empty());
}

TEST(Safetensors, AcceptsZeroDimensionsAndRankZero) {
  const auto parsed =
      parse(safetensors_bytes(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                              R"("z":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},)"
                              R"("y":{"dtype":"I64","shape":[3,0],"data_offsets":[0,0]}})",
                              "1234"));
  EXPECT_EQ(parsed.entries.at("s").nbytes, 4u);
  EXPECT_TRUE(parsed.entries.at("s").shape.empty());
  EXPECT_EQ(parsed.entries.at("z").nbytes, 0u);
  EXPECT_EQ(parsed.entries.at("y").nbytes, 0u);
}

TEST(Safetensors, AcceptsTypesItCannotLoad) {
  const auto parsed =
      parse(safetensors_bytes(R"({"f":{"dtype":"F4","shape":[4],"data_offsets":[0,2]},)"
                              R"("g":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[2,5]},)"
                              R"("h":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[5,8]}})",
                              "12345678"));
  EXPECT_EQ(parsed.entries.at("g").nbytes, 3u);
}

TEST(Safetensors, RejectsTruncatedFiles) {
  expect_error(ErrorKind::kCorrupt, "'model.safetensors': 0 bytes, too short", [] { parse(""); });
  expect_error(ErrorKind::kCorrupt, "7 bytes, too short", [] { parse("1234567"); });
  const std::string good = safetensors_bytes(one_tensor(), "12345678");
  parse(good);
  for (std::size_t size = 0; size < good.size(); ++size) {
    expect_error(ErrorKind::kCorrupt,
                 "'model.safetensors': ", [&] { parse(good.substr(0, size)); });
  }
}

TEST(Safetensors, RejectsBadHeaderLengths) {
  std::string bytes = safetensors_bytes("{}");
  bytes[0] = 3;
  expect_error(ErrorKind::kCorrupt, "the header ends at byte 11, past the end of the file (10)",
               [&] { parse(bytes); });
  bytes[3] = 6;  // 100,663,299
  expect_error(ErrorKind::kCorrupt, "a header of 100663299 bytes, more than the 100000000",
               [&] { parse(bytes); });
  expect_error(ErrorKind::kCorrupt, "a header of 18446744073709551615 bytes",
               [] { parse(std::string(8, '\xff') + "{}"); });
  expect_corrupt("", "", "the header (0 bytes) is not a JSON object");
}

TEST(Safetensors, RejectsWhatIsNotJson) {
  expect_corrupt("[]", "", "not a JSON object");
  expect_corrupt("\xEF\xBB\xBF{}", "", "not a JSON object");
  expect_corrupt("{", "", "not valid JSON at byte 9");
  expect_corrupt("{} x", "", "not valid JSON at byte 11");
  expect_corrupt(std::string("{}\0\0", 4), "", "a zero byte at byte 10");
  expect_corrupt(one_tensor() + one_tensor(), "12345678", "not valid JSON");
  expect_corrupt(std::string(100000, '['), "", "not a JSON object");
  expect_corrupt(R"({"a":)" + std::string(100000, '['), "", "tensor 'a': an object must be here");
}

TEST(Safetensors, RejectsInvalidUtf8) {
  for (const char* name : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    expect_corrupt(one_tensor(name), "12345678", "not valid JSON");
  }
  EXPECT_EQ(parse(safetensors_bytes(one_tensor("größe"), "12345678")).entries.count("größe"), 1u);
}

TEST(Safetensors, RejectsDuplicates) {
  expect_corrupt(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                 R"("\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                 "12", "tensor 'a' is listed twice");
  expect_corrupt(R"({"__metadata__":{"x":"1","x":"2"}})", "",
                 "__metadata__: key 'x' is there twice");
  expect_corrupt(R"({"__metadata__":{},"__metadata__":{}})", "", "'__metadata__' is there twice");
  expect_corrupt(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "1",
                 "tensor 'a': key 'dtype' is there twice");
}

TEST(Safetensors, RejectsWrongFields) {
  const auto tensor = [](const std::string& body) { return R"({"a":{)" + body + "}}"; };
  expect_corrupt(tensor(R"("dtype":"U8","shape":[1])"), "1", "tensor 'a' has no data_offsets");
  expect_corrupt(tensor(R"("shape":[1],"data_offsets":[0,1])"), "1", "tensor 'a' has no dtype");
  expect_corrupt(tensor(R"("dtype":"U8","data_offsets":[0,1])"), "1", "tensor 'a' has no shape");
  expect_corrupt(tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1])"), "1",
                 "tensor 'a': unknown key 'strides'");
  expect_corrupt(tensor(R"("dtype":8,"shape":[1],"data_offsets":[0,1])"), "1",
                 "dtype must be a string, not 8");
  expect_corrupt(tensor(R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])"), "1",
                 "shape must hold only integers from 0 to 2^64 - 1, not -1");
  expect_corrupt(tensor(R"("dtype":"U8","shape":[1.0],"data_offsets":[0,1])"), "1", "not 1.0");
  expect_corrupt(tensor(R"("dtype":"U8","shape":1,"data_offsets":[0,1])"), "1",
                 "shape must be a list, not 1");
  expect_corrupt(tensor(R"("dtype":"U8","shape":[[1]],"data_offsets":[0,1])"), "1", "not a list");
  expect_corrupt(tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0])"), "1",
                 "data_offsets has 1 numbers, not 2");
  expect_corrupt(tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,1,2])"), "1",
                 "data_offsets must be 2 integers");
  expect_corrupt(tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,18446744073709551616])"), "1",
                 "data_offsets must be 2 integers");
  expect_corrupt(R"({"a":null})", "", "tensor 'a': an object must be here, not null");
}

TEST(Safetensors, RejectsMetadataThatIsNotText) {
  expect_corrupt(R"({"__metadata__":{"format":1}})", "",
                 "__metadata__ key 'format': the value must be a string, not 1");
  expect_corrupt(R"({"__metadata__":{"format":{}}})", "", "the value must be a string");
  expect_corrupt(R"({"__metadata__":["pt"]})", "", "__metadata__: an object must be here");
}

TEST(Safetensors, RejectsUnknownTypes) {
  expect_error(
      ErrorKind::kUnsupported, "'model.safetensors': tensor 'a' has unknown dtype 'F7'", [] {
        parse(safetensors_bytes(R"({"a":{"dtype":"F7","shape":[1],"data_offsets":[0,1]}})", "1"));
      });
}

TEST(Safetensors, RejectsBadLayouts) {
  const auto two = [](int begin_a, int end_a, int begin_b, int end_b) {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}},)"
                       R"("b":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}}})",
                       end_a - begin_a, begin_a, end_a, end_b - begin_b, begin_b, end_b);
  };
  const std::string data = "0123456789";
  parse(safetensors_bytes(two(0, 4, 4, 10), data));
  parse(safetensors_bytes(two(4, 10, 0, 4), data));
  expect_corrupt(two(0, 4, 5, 10), data, "1 bytes after the end of tensor 'a'");
  expect_corrupt(two(1, 4, 4, 10), data, "1 bytes after the end of the header");
  expect_corrupt(two(0, 5, 4, 10), data, "inside tensor 'a', which ends at byte");
  expect_corrupt(two(0, 10, 0, 10), data, "inside tensor 'a'");
  expect_corrupt(two(0, 4, 4, 9), data, "1 bytes after the last tensor");
  expect_corrupt("{}", "x", "1 bytes after the last tensor, which ends at byte 10 of 11");
  const std::string header = two(0, 4, 4, 11);
  expect_corrupt(header, data,
                 fmt::format("tensor 'b' ends at byte {}, past the end of the file ({})",
                             header.size() + 19, header.size() + 18));
  // Ten tensors over the same bytes, as an attacker would reuse them.
  std::string many = "{";
  for (int i = 0; i < 10; ++i) {
    many += fmt::format(R"({}"t{}":{{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})",
                        i > 0 ? "," : "", i);
  }
  expect_corrupt(many + "}", std::string(16, 'x'), "inside tensor 't0'");
}

TEST(Safetensors, RejectsSizesThatContradictShapes) {
  const auto tensor = [](std::string_view dtype, std::string_view shape, std::string_view offsets) {
    return fmt::format(R"({{"a":{{"dtype":"{}","shape":[{}],"data_offsets":[{}]}}}})", dtype, shape,
                       offsets);
  };
  expect_corrupt(tensor("F32", "3", "0,8"), "12345678",
                 "tensor 'a' of shape [3] and dtype F32 needs 12 bytes but has 8");
  expect_corrupt(tensor("F32", "2", "8,0"), "12345678", "the end before the begin");
  expect_corrupt(tensor("F4", "3", "0,2"), "12", "takes 12 bits, not whole bytes");
  for (const char* shape : {"4294967296,4294967296", "18446744073709551615", "9223372036854775807",
                            "2305843009213693952", "4294967296,4294967296,0"}) {
    expect_corrupt(tensor("F64", shape, "0,8"), "12345678", "the size overflows");
  }
  expect_corrupt(tensor("U8", "2", "18446744073709551613,18446744073709551615"), "12",
                 "which overflow");
}

TEST(Safetensors, ShowsHostileNamesSafely) {
  const std::string name = R"(\u001b[2J)" + std::string(1000, 'x');
  try {
    parse(safetensors_bytes(one_tensor(name), "1"));
    FAIL();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\x1b'), std::string::npos);
    EXPECT_LT(message.size(), 400u);
  }
}

TEST(SafetensorsSet, GivesViewsOfUnalignedData) {
  const TempFolder folder;
  std::string data("\x07", 1);
  const float numbers[2] = {1.5f, -2.0f};
  data.append(reinterpret_cast<const char*>(numbers), sizeof(numbers));
  const auto path = folder.write(
      "x.safetensors",
      safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[1,9]},)"
                        R"("b":{"dtype":"U8","shape":[],"data_offsets":[0,1]},)"
                        R"("c":{"dtype":"BOOL","shape":[0],"data_offsets":[9,9]},)"
                        R"("d":{"dtype":"U8","shape":[1,1,1,1,0],"data_offsets":[9,9]}})",
                        data));
  const SafetensorsSet set = SafetensorsSet::open_file(path);
  EXPECT_EQ(set.total_bytes(), 9);
  const Tensor a = set.tensor("a").to_f32();
  EXPECT_EQ(a.data<float>()[0], 1.5f);
  EXPECT_EQ(a.data<float>()[1], -2.0f);
  EXPECT_EQ(set.tensor("b").data<std::uint8_t>()[0], 7);
  EXPECT_EQ(set.tensor("b").shape().rank(), 0);
  expect_error(ErrorKind::kNotFound, "no tensor 'e' among its 4", [&] { set.tensor("e"); });
  expect_error(ErrorKind::kUnsupported, "tensor 'c' has dtype BOOL", [&] { set.tensor("c"); });
  expect_error(ErrorKind::kUnsupported, "tensor 'd' has 5 dimensions", [&] { set.tensor("d"); });
}

TEST(SafetensorsSet, ReadsFilesOfTheReferenceImplementation) {
  // safetensors.numpy.save({"w": float32 [2, 1] (1, 2), "h": float16 [1] (-1.5), "i": int8 [3]
  // (-1, 0, 1)}, metadata={"format": "pt"}) of safetensors 0.8.0.
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("h":{"dtype":"F16","shape":[1],"data_offsets":[8,10]},)"
      R"("i":{"dtype":"I8","shape":[3],"data_offsets":[10,13]}})";
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\x40\x00\xbe\xff\x00\x01", 13);
  std::string padded = header;
  padded.resize((header.size() + 7) / 8 * 8, ' ');
  const TempFolder folder;
  const std::string bytes = safetensors_bytes(padded, data);
  const auto set = SafetensorsSet::open_file(folder.write("x.safetensors", bytes));
  EXPECT_EQ(set.tensor("w").to_f32().data<float>()[1], 2.0f);
  EXPECT_EQ(set.tensor("h").to_f32().data<float>()[0], -1.5f);
  EXPECT_EQ(set.tensor("i").data<std::int8_t>()[0], -1);
  // And what we write of the same tensors is the same, byte for byte.
  write_safetensors(folder.path() / "y.safetensors",
                    {{"h", set.tensor("h")}, {"i", set.tensor("i")}, {"w", set.tensor("w")}});
  EXPECT_EQ(testing::read_bytes(folder.path() / "y.safetensors"), bytes);
}

class SafetensorsFolder : public ::testing::Test {
 protected:
  void write_shard(const std::string& name, std::string_view tensor) const {
    folder_.write(name, safetensors_bytes(one_tensor(tensor), "12345678"));
  }
  void write_index(std::string_view map) const {
    folder_.write("model.safetensors.index.json",
                  fmt::format(R"({{"metadata":{{"total_size":1}},"weight_map":{{{}}}}})", map));
  }
  SafetensorsSet open() const { return SafetensorsSet::open_folder(folder_.path()); }
  TempFolder folder_;
};

TEST_F(SafetensorsFolder, PrefersTheSingleFile) {
  write_shard("model.safetensors", "a");
  write_index(R"("b":"missing")");
  EXPECT_TRUE(open().contains("a"));
}

TEST_F(SafetensorsFolder, ReadsShards) {
  write_shard("s1.safetensors", "a");
  write_shard("s2.safetensors", "b");
  write_index(R"("a":"s1.safetensors","b":"s2.safetensors")");
  const SafetensorsSet set = open();
  EXPECT_EQ(set.files().size(), 2u);
  EXPECT_EQ(set.entries().size(), 2u);
  EXPECT_EQ(set.tensor("b").bytes()[0], std::byte{'1'});
  EXPECT_EQ(set.total_bytes(), 16);
}

TEST_F(SafetensorsFolder, NamesMissingShardsOnce) {
  write_shard("s1.safetensors", "a");
  write_index(
      R"("a":"s1.safetensors","b":"s2.safetensors","c":"s3.safetensors","d":"s3.safetensors")");
  expect_error(ErrorKind::kNotFound,
               "index.json': 2 of 3 files it lists are missing: s2.safetensors, s3.safetensors",
               [&] { open(); });
}

TEST_F(SafetensorsFolder, RejectsTensorsThatAreNotInTheirShard) {
  write_shard("s1.safetensors", "a");
  write_index(R"("a":"s1.safetensors","b":"s1.safetensors")");
  expect_error(ErrorKind::kCorrupt, "tensor 'b' is said to be in 's1.safetensors', which does not",
               [&] { open(); });
}

TEST_F(SafetensorsFolder, StaysInsideTheFolder) {
  for (const char* name :
       {"../x.safetensors", "/etc/passwd", "sub/x", "..", ".", "", "a\\\\b", "x\\u0000y"}) {
    write_index(fmt::format(R"("a":"{}")", name));
    expect_error(ErrorKind::kCorrupt, "which is not the name of a file in this folder",
                 [&] { open(); });
  }
}

TEST_F(SafetensorsFolder, RejectsBadIndexes) {
  write_index(R"("a":1)");
  expect_error(ErrorKind::kCorrupt, "key 'weight_map.a' must be a string, but is 1",
               [&] { open(); });
  folder_.write("model.safetensors.index.json", "{}");
  expect_error(ErrorKind::kCorrupt, "key 'weight_map' is missing", [&] { open(); });
}

TEST_F(SafetensorsFolder, SaysWhatIsMissing) {
  expect_error(ErrorKind::kNotFound, "neither model.safetensors nor", [&] { open(); });
  folder_.write("pytorch_model.bin", "x");
  expect_error(ErrorKind::kNotFound, "no such folder",
               [&] { SafetensorsSet::open_folder(folder_.path() / "none"); });
  expect_error(ErrorKind::kInvalidArgument, "not a folder",
               [&] { SafetensorsSet::open_folder(folder_.path() / "pytorch_model.bin"); });
}

}  // namespace
}  // namespace aquatint
