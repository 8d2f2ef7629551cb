#include <sys/resource.h>

#include <csignal>
#include <random>

#include "base/mapped_file.h"
#include "formats/atomic_file.h"
#include "formats/safetensors.h"
#include "formats/test_support.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::read_bytes;
using testing::TempFolder;

Tensor random_tensor(Shape shape, DType dtype, unsigned seed) {
  std::mt19937 random(seed);
  Tensor tensor = Tensor::empty(shape, dtype);
  for (std::size_t i = 0; i < tensor.nbytes(); ++i) {
    tensor.mutable_bytes()[i] = static_cast<std::byte>(random());
  }
  return tensor;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::equal(a.bytes(), a.bytes() + a.nbytes(), b.bytes());
}

// Lowers the size a file may have while it lives; writes beyond it fail as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(SafetensorsWriter, RoundTripsEveryTypeAndOddShapes) {
  const TempFolder folder;
  std::vector<std::pair<std::string, Tensor>> tensors;
  unsigned seed = 0;
  for (const DType dtype :
       {DType::kF32, DType::kF16, DType::kBF16, DType::kI8, DType::kU8, DType::kI32, DType::kI64}) {
    for (const Shape& shape :
         {Shape{}, Shape{0}, Shape{1}, Shape{3, 5}, Shape{2, 0, 3}, Shape{2, 3, 1, 7}}) {
      tensors.emplace_back(std::string(dtype_name(dtype)) + shape.str(),
                           random_tensor(shape, dtype, ++seed));
    }
  }
  tensors.emplace_back("quote \" backslash \\ ünïcode \x01", random_tensor({2}, DType::kI8, 99));
  const auto path = folder.path() / "m.safetensors";
  write_safetensors(path, tensors);
  const SafetensorsSet set = SafetensorsSet::open_file(path);
  EXPECT_EQ(set.entries().size(), tensors.size());
  EXPECT_EQ(set.metadata().at("format"), "pt");
  for (const auto& [name, tensor] : tensors) {
    EXPECT_TRUE(same(set.tensor(name), tensor)) << name;
    EXPECT_EQ(set.entries().at(name).offset % dtype_size(tensor.dtype()), 0u) << name;
  }
  EXPECT_EQ(folder.files(), std::vector<std::string>{"m.safetensors"});
}

TEST(SafetensorsWriter, TakesTensorsInAnyOrder) {
  const TempFolder folder;
  const Tensor a = random_tensor({100}, DType::kF32, 1), b = random_tensor({7}, DType::kI8, 2);
  for (const bool forward : {true, false}) {
    const auto path = folder.path() / (forward ? "f" : "b");
    SafetensorsWriter writer(path, {{"a", a.dtype(), a.shape()}, {"b", b.dtype(), b.shape()}}, {});
    writer.write(forward ? "a" : "b", forward ? a : b);
    writer.write(forward ? "b" : "a", forward ? b : a);
    EXPECT_FALSE(std::filesystem::exists(path));
    writer.finish();
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_EQ(read_bytes(folder.path() / "f"), read_bytes(folder.path() / "b"));
  EXPECT_TRUE(SafetensorsSet::open_file(folder.path() / "f").metadata().empty());
}

TEST(SafetensorsWriter, LeavesNothingWhenNotFinished) {
  const TempFolder folder;
  {
    SafetensorsWriter writer(folder.path() / "m", {{"a", DType::kF32, {2}}});
    writer.write("a", random_tensor({2}, DType::kF32, 1));
  }
  EXPECT_TRUE(folder.files().empty());
}

TEST(SafetensorsWriter, ReplacesOnlyWhenFinished) {
  const TempFolder folder;
  const auto path = folder.write("m", "old");
  folder.write("m.partial", "left over by a killed run, and longer than the new file by far");
  {
    SafetensorsWriter writer(path, {{"a", DType::kF32, {2}}});
    EXPECT_EQ(read_bytes(path), "old");
    writer.write("a", random_tensor({2}, DType::kF32, 1));
    EXPECT_THROW(writer.write("b", random_tensor({2}, DType::kF32, 1)), std::logic_error);
    EXPECT_THROW(writer.write("a", random_tensor({3}, DType::kF32, 1)), std::logic_error);
    writer.finish();
  }
  EXPECT_TRUE(SafetensorsSet::open_file(path).contains("a"));
  EXPECT_EQ(folder.files(), std::vector<std::string>{"m"});
}

TEST(SafetensorsWriter, ContinuesAnInterruptedFile) {
  const TempFolder folder;
  const auto path = folder.path() / "m";
  const Tensor a = random_tensor({100}, DType::kF32, 1), b = random_tensor({7}, DType::kI8, 2);
  const std::vector<TensorInfo> infos = {{"a", a.dtype(), a.shape()}, {"b", b.dtype(), b.shape()}};
  const auto open = [&] { return SafetensorsWriter(path, infos, {{"format", "pt"}}, true); };
  {
    SafetensorsWriter writer = open();
    writer.write("b", b);
    writer.flush();
  }
  EXPECT_EQ(folder.files(), std::vector<std::string>{"m.partial"});
  std::ofstream(path.string() + ".partial", std::ios::app) << "what another layout left";
  SafetensorsWriter writer = open();
  writer.mark_written("b");
  writer.write("a", a);
  writer.finish();
  const SafetensorsSet set = SafetensorsSet::open_file(path);
  EXPECT_TRUE(same(set.tensor("a"), a));
  EXPECT_TRUE(same(set.tensor("b"), b));
}

TEST(SafetensorsWriter, RefusesToFinishWithHoles) {
  const TempFolder folder;
  SafetensorsWriter writer(folder.path() / "m", {{"a", DType::kF32, {2}}});
  EXPECT_THROW(writer.finish(), std::logic_error);
}

TEST(SafetensorsWriter, ReportsFullDisks) {
  const TempFolder folder;
  const auto path = folder.path() / "m.safetensors";
  const FileSizeLimit limit(10000);
  expect_error(ErrorKind::kIo, "m.safetensors': cannot reserve 40", [&] {
    SafetensorsWriter(path, {{"a", DType::kF32, {10000}}});
  });
  EXPECT_TRUE(folder.files().empty());
}

TEST(SafetensorsWriter, ReportsFoldersItCannotWriteTo) {
  const TempFolder folder;
  folder.write("file", "x");
  expect_error(ErrorKind::kIo, "file/m': cannot create the file: Not a directory",
               [&] { SafetensorsWriter(folder.path() / "file" / "m", {}); });
  expect_error(ErrorKind::kIo, "none/m': cannot create the file: No such file",
               [&] { SafetensorsWriter(folder.path() / "none" / "m", {}); });
}

TEST(AtomicFile, WritesAndReplacesText) {
  const TempFolder folder;
  const auto path = folder.path() / "a.txt";
  write_text_file(path, "one");
  EXPECT_EQ(read_bytes(path), "one");
  write_text_file(path, "");
  EXPECT_EQ(read_bytes(path), "");
  const std::string big(300000, 'x');
  write_text_file(path, big);
  EXPECT_EQ(read_bytes(path), big);
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a.txt"});
}

TEST(AtomicFile, KeepsTheOldFileWhenTheDiskIsFull) {
  const TempFolder folder;
  const auto path = folder.write("a.txt", "old");
  const FileSizeLimit limit(10000);
  expect_error(ErrorKind::kIo, "a.txt': cannot",
               [&] { write_text_file(path, std::string(20000, 'x')); });
  EXPECT_EQ(read_bytes(path), "old");
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a.txt"});
}

TEST(AtomicFile, DoesNotFollowALinkPlantedUnderTheTemporaryName) {
  const TempFolder folder;
  const auto victim = folder.write("victim", "precious");
  std::filesystem::create_symlink(victim, folder.path() / "a.txt.partial");
  expect_error(ErrorKind::kIo, "cannot create the file",
               [&] { write_text_file(folder.path() / "a.txt", "x"); });
  EXPECT_EQ(read_bytes(victim), "precious");
}

TEST(AtomicFile, RenamesFilesAndFolders) {
  const TempFolder folder;
  const auto& root = folder.path();
  folder.write("from", "new");
  folder.write("to", "old");
  rename_durably(root / "from", root / "to");
  EXPECT_EQ(read_bytes(root / "to"), "new");

  std::filesystem::create_directories(root / "new_folder" / "inner");
  std::filesystem::create_directories(root / "empty");
  std::filesystem::create_directories(root / "full" / "inner");
  expect_error(ErrorKind::kIo, "full': cannot rename '",
               [&] { rename_durably(root / "new_folder", root / "full"); });
  expect_error(ErrorKind::kIo, "Is a directory",
               [&] { rename_durably(root / "to", root / "full"); });
  expect_error(ErrorKind::kIo, "none': cannot rename",
               [&] { rename_durably(root / "nothing", root / "none"); });
  rename_durably(root / "new_folder", root / "empty");
  EXPECT_TRUE(std::filesystem::exists(root / "empty" / "inner"));
  sync_path(root);
  expect_error(ErrorKind::kIo, "cannot open to flush", [&] { sync_path(root / "nothing"); });
}

}  // namespace
}  // namespace aquatint
