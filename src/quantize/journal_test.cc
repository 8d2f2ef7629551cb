#include "quantize/journal.h"

#include <gtest/gtest.h>

#include "quantize/test_support.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::read_bytes;
using testing::TempFolder;

TEST(Journal, RemembersFinishedUnits) {
  const TempFolder temp;
  const auto path = temp.path() / "journal.jsonl";
  {
    Journal journal(path, "abc");
    EXPECT_EQ(journal.finished_units(), 0u);
    journal.finish({"input"});
    journal.finish({"block 0", "block 1"});
    journal.finish({});
    EXPECT_TRUE(journal.done("block 1"));
  }
  const Journal again(path, "abc");
  EXPECT_EQ(again.finished_units(), 3u);
  EXPECT_TRUE(again.done("input") && again.done("block 0") && again.done("block 1"));
  EXPECT_FALSE(again.done("output"));
}

TEST(Journal, TornLastLineIsDroppedAndWrittenOver) {
  const TempFolder temp;
  const auto path = temp.path() / "journal.jsonl";
  { Journal(path, "abc").finish({"input", "block 0"}); }
  const std::string whole = read_bytes(path);
  // Cut anywhere: what is left of the units is a prefix, and the journal can be continued.
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    temp.write("journal.jsonl", whole.substr(0, cut));
    {
      Journal journal(path, "abc");
      EXPECT_EQ(journal.finished_units() == 2, cut == whole.size()) << cut;
      EXPECT_TRUE(journal.done("input") || !journal.done("block 0"));
      for (const char* unit : {"input", "block 0"}) {
        if (!journal.done(unit)) journal.finish({unit});
      }
    }
    EXPECT_EQ(read_bytes(path), whole) << cut;
  }
}

TEST(Journal, GarbageAfterAUnitIsDropped) {
  const TempFolder temp;
  const std::string good = "{\"run\":\"abc\"}\n{\"unit\":\"input\"}\n";
  for (const char* bad :
       {"\n", "{}\n", "{\"unit\":5}\n", "[1]\n", "{\"unit\":\"x\"", "\xff\xfe\n"}) {
    const auto path = temp.write("journal.jsonl", good + bad);
    EXPECT_EQ(Journal(path, "abc").finished_units(), 1u) << bad;
    EXPECT_EQ(read_bytes(path), good);
  }
}

TEST(Journal, OfAnotherRunIsRefused) {
  const TempFolder temp;
  for (const char* text :
       {"{\"run\":\"other\"}\n", "{\"run\":7}\n", "{}\n", "[]\n", "text\n", "\n"}) {
    const auto path = temp.write("journal.jsonl", text);
    expect_error(ErrorKind::kInvalidArgument, "unfinished run of another model, recipe or version",
                 [&] { Journal(path, "abc"); });
    EXPECT_EQ(read_bytes(path), text);
  }
}

TEST(Journal, TwoAtOnceAreRefused) {
  const TempFolder temp;
  const auto path = temp.path() / "journal.jsonl";
  const Journal first(path, "abc");
  expect_error(ErrorKind::kInvalidArgument, "another run is writing there",
               [&] { Journal(path, "abc"); });
}

TEST(Journal, InAMissingFolder) {
  expect_error(ErrorKind::kIo, "No such file",
               [] { Journal("/nonexistent/journal.jsonl", "abc"); });
}

}  // namespace
}  // namespace aquatint
