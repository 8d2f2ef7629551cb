#include "quantize/working_folder.h"

#include <gtest/gtest.h>

#include <fstream>

#include "quantize/test_support.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::TempFolder;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

TEST(WorkingFolder, NamesStandBesideTheOutput) {
  EXPECT_EQ(WorkingFolder("a/b").path(), "a/b.partial");
  EXPECT_EQ(WorkingFolder("a/b/").path(), "a/b.partial");
  EXPECT_EQ(WorkingFolder("a/./c/../b//").final_path(), "a/b");
  for (const char* path : {"", ".", "..", "/", "a/.."}) {
    expect_error(ErrorKind::kInvalidArgument, "name a folder", [&] { WorkingFolder folder(path); });
  }
}

TEST(WorkingFolder, RefusesToReplaceWhatIsNoModel) {
  const TempFolder temp;
  const WorkingFolder folder(temp.path() / "out");
  folder.check(false);
  write(folder.final_path() / "thesis.tex", "years of work");
  expect_error(ErrorKind::kInvalidArgument, "exists", [&] { folder.check(false); });
  expect_error(ErrorKind::kInvalidArgument, "not a model folder", [&] { folder.check(true); });
  write(folder.final_path() / "config.json", "{}");
  folder.check(true);
  const WorkingFolder file(folder.final_path() / "config.json");
  expect_error(ErrorKind::kInvalidArgument, "not a model folder", [&] { file.check(true); });
}

TEST(WorkingFolder, RefusesAFolderInTheWay) {
  const TempFolder temp;
  const WorkingFolder folder(temp.path() / "out");
  folder.create();
  folder.check(false);  // empty: of a run killed at once
  write(folder.path() / "mine.txt", "x");
  expect_error(ErrorKind::kInvalidArgument, "in the way", [&] { folder.check(false); });
  write(folder.journal(), "");
  folder.check(false);
}

TEST(WorkingFolder, RefusesTheModelItReads) {
  const TempFolder temp;
  write(temp.path() / "all" / "model" / "config.json", "{}");
  const fs::path model = temp.path() / "all" / "model";
  for (const fs::path& output :
       {model, model / "", temp.path() / "all", temp.path() / "all" / "x" / ".." / "model"}) {
    expect_error(ErrorKind::kInvalidArgument, "is or holds the model to be read",
                 [&] { WorkingFolder(output).check_source(model); });
  }
  fs::create_directory_symlink(model, temp.path() / "link");
  expect_error(ErrorKind::kInvalidArgument, "is or holds the model to be read",
               [&] { WorkingFolder(temp.path() / "link").check_source(model); });
  WorkingFolder(model / "quantized").check_source(model);
}

TEST(WorkingFolder, RefusesAPlaceThatIsNoFolder) {
  const TempFolder temp;
  WorkingFolder(temp.path() / "out").check_place();
  WorkingFolder(temp.path() / "deep/er/out").check_place();
  write(temp.path() / "file", "");
  expect_error(ErrorKind::kIo, "is not a folder",
               [&] { WorkingFolder(temp.path() / "file/out").check_place(); });
  expect_error(ErrorKind::kIo, "is not a folder",
               [&] { WorkingFolder(temp.path() / "file/deep/out").check_place(); });
}

TEST(WorkingFolder, PublishesAndReplaces) {
  const TempFolder temp;
  const WorkingFolder folder(temp.path() / "out");
  for (const char* text : {"first", "second"}) {
    folder.create();
    write(folder.journal(), "{}");
    write(folder.path() / "config.json", text);
    folder.publish(true);
    EXPECT_EQ(testing::read_bytes(folder.final_path() / "config.json"), text);
    EXPECT_EQ(temp.files(), (std::vector<std::string>{"out"}));
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.final_path()), {}), 1);
  }
  folder.create();
  write(folder.path() / "config.json", "third");
  expect_error(ErrorKind::kIo, "cannot rename", [&] { folder.publish(false); });
  EXPECT_EQ(testing::read_bytes(folder.final_path() / "config.json"), "second");
}

// Every state that a kill between the steps of publish() can leave leads on.
TEST(WorkingFolder, KilledWhilePublishing) {
  const TempFolder temp;
  const WorkingFolder folder(temp.path() / "out");
  // After the old output was set aside.
  folder.create();
  write(folder.journal(), "{\"run\":\"abc\"}\n");
  write(folder.path() / "config.json", "new");
  write(folder.path() / "replaced" / "config.json", "old");
  EXPECT_FALSE(folder.finish_publishing("abc"));
  folder.check(false);
  folder.publish(false);
  EXPECT_EQ(testing::read_bytes(folder.final_path() / "config.json"), "new");
  EXPECT_FALSE(fs::exists(folder.final_path() / "replaced"));
  // After the new one got its name.
  write(folder.final_path() / "journal.jsonl", "{\"run\":\"abc\"}\n");
  write(folder.final_path() / "replaced" / "config.json", "old");
  EXPECT_FALSE(folder.finish_publishing("another"));
  EXPECT_TRUE(folder.finish_publishing("abc"));
  EXPECT_FALSE(fs::exists(folder.final_path() / "replaced"));
  EXPECT_FALSE(fs::exists(folder.final_path() / "journal.jsonl"));
  EXPECT_FALSE(folder.finish_publishing("abc"));
}

}  // namespace
}  // namespace aquatint
