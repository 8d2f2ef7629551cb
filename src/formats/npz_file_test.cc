#include "formats/npz_file.h"

#include <cstring>

#include "base/process.h"
#include "formats/test_support.h"
#include "formats/zip_archive.h"

namespace aquatint {
namespace {

using testing::TempFolder;

std::vector<NpzArray> some_arrays() {
  const float values[] = {1.0f, -2.5f, 0.0f};
  const std::string names[] = {"model.layers.0", "a", "größer 𝛼"};
  return {npz_floats("values", values), npz_float("scalar", 0.25f), npz_floats("nothing", {}),
          npz_strings("names", names)};
}

TEST(NpzFile, IsAStoredArchiveOfAlignedArrays) {
  const TempFolder folder;
  write_npz(folder.path() / "a.npz", some_arrays());
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a.npz"});
  const std::string bytes = testing::read_bytes(folder.path() / "a.npz");
  const auto entries = read_zip_directory(std::as_bytes(std::span(bytes)), "a.npz");
  ASSERT_EQ(entries.size(), 4u);
  const ZipEntry entry = entries.at("values.npy");
  const std::string file = bytes.substr(entry.offset, entry.size);
  EXPECT_EQ(file.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_TRUE(
      file.substr(10).starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3, ), } "));
  ASSERT_EQ(file.size(), 128 + 12u);
  float last = 0.0f;
  std::memcpy(&last, file.data() + 128 + 4, sizeof last);
  EXPECT_EQ(last, -2.5f);
}

TEST(NpzFile, EqualArraysMakeEqualBytes) {
  const TempFolder folder;
  write_npz(folder.path() / "a.npz", some_arrays());
  write_npz(folder.path() / "b.npz", some_arrays());
  EXPECT_EQ(testing::read_bytes(folder.path() / "a.npz"),
            testing::read_bytes(folder.path() / "b.npz"));
}

TEST(NpzFile, SaysWhatItCannotWrite) {
  const std::string bad[] = {"\xff"};
  testing::expect_error(ErrorKind::kInvalidArgument, "not valid UTF-8",
                        [&] { npz_strings("names", bad); });
  testing::expect_error(ErrorKind::kIo, "no/such/folder/a.npz",
                        [] { write_npz("/no/such/folder/a.npz", some_arrays()); });
}

TEST(NpzFile, IsReadByNumpy) {
  std::string python = std::string(AQUATINT_SOURCE_DIR) + "/.venv/bin/python";
  if (!std::filesystem::exists(python)) python = find_program("python3");
  if (python.empty()) GTEST_SKIP() << "no Python";
  const TempFolder folder;
  const std::string path = (folder.path() / "a.npz").string();
  write_npz(path, some_arrays());
  const std::string script = R"(
import sys
try:
    import numpy
except ImportError:
    sys.exit(print("no numpy"))
z = numpy.load(sys.argv[1], allow_pickle=False)
print(sorted(z.files), z["values"].tolist(), z["scalar"].shape, float(z["scalar"]))
print(z["nothing"].shape, ascii(z["names"].tolist()))
)";
  const std::string printed = run_process(python, {"-c", script, path});
  if (printed == "no numpy\n") GTEST_SKIP() << python << " has no numpy";
  EXPECT_EQ(printed,
            "['names', 'nothing', 'scalar', 'values'] [1.0, -2.5, 0.0] () 0.25\n"
            "(0,) ['model.layers.0', 'a', 'gr\\xf6\\xdfer \\U0001d6fc']\n");
}

}  // namespace
}  // namespace aquatint
