#include "hub/cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>
#include <vector>

#include "formats/test_support.h"
#include "hub/digest.h"

namespace aquatint::hub {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::read_bytes;
using testing::TempFolder;

const std::string kCommit = "0123456789abcdef0123456789abcdef01234567";

TEST(Etag, Normalized) {
  for (const char* header : {"abc", "\"abc\"", "W/\"abc\""}) {
    EXPECT_EQ(normalize_etag(header, "x"), "abc");
  }
  for (const char* bad : {"", "\"\"", "a/b", "..", ".a", "a b", "\"a\\b\""}) {
    expect_error(ErrorKind::kCorrupt, "x: ", [&] { normalize_etag(bad, "x"); });
  }
  expect_error(ErrorKind::kCorrupt, "x", [] { normalize_etag(std::string(300, 'a'), "x"); });
}

std::string digest_of(const std::string& etag, const std::string& text) {
  ContentDigest digest(etag, text.size());
  for (const char c : text) digest.update(&c, 1);
  return digest.known() ? digest.hex() : "";
}

// The first from FIPS 180-4, the others what `git hash-object` prints.
TEST(Digest, OfEachKindOfEtag) {
  EXPECT_EQ(digest_of(std::string(64, '0'), "abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_of(std::string(40, '0'), ""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(digest_of(std::string(40, '0'), "hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
  EXPECT_EQ(digest_of("d41d8cd98f00b204e9800998ecf8427e", "abc"), "");
  EXPECT_EQ(digest_of(std::string(40, 'g'), "abc"), "");
}

TEST(RepoCache, Layout) {
  const RepoCache cache("/c", "org/some-model");
  EXPECT_EQ(cache.folder(), "/c/models--org--some-model");
  EXPECT_EQ(cache.blob("e"), "/c/models--org--some-model/blobs/e");
  EXPECT_EQ(cache.snapshot(kCommit), "/c/models--org--some-model/snapshots/" + kCommit);
  EXPECT_EQ(cache.lock("e"), "/c/.locks/models--org--some-model/e.lock");
}

TEST(RepoCache, LinksAndRefs) {
  const TempFolder temp;
  const RepoCache cache(temp.path(), "org/model");
  cache.create();
  EXPECT_EQ(cache.commit_of("main"), std::nullopt);
  EXPECT_EQ(cache.commit_of(kCommit), std::nullopt);
  std::ofstream(cache.blob("e1")) << "one";
  std::ofstream(cache.blob("e2")) << "two";
  cache.link(kCommit, "a/b/c.txt", "e1");
  EXPECT_EQ(fs::read_symlink(cache.snapshot(kCommit) / "a/b/c.txt"), "../../../../blobs/e1");
  EXPECT_EQ(read_bytes(cache.snapshot(kCommit) / "a/b/c.txt"), "one");
  cache.link(kCommit, "a/b/c.txt", "e2");  // replaced
  EXPECT_EQ(read_bytes(cache.snapshot(kCommit) / "a/b/c.txt"), "two");
  EXPECT_TRUE(cache.has(kCommit, "a/b/c.txt"));
  cache.link(kCommit, "gone", "e3");
  EXPECT_FALSE(cache.has(kCommit, "gone")) << "a link to nothing";
  EXPECT_EQ(cache.commit_of(kCommit), kCommit);
  cache.write_ref(kCommit, kCommit);
  EXPECT_FALSE(fs::exists(cache.folder() / "refs"));
  cache.write_ref("refs/pr/1", kCommit);
  EXPECT_EQ(read_bytes(cache.folder() / "refs/refs/pr/1"), kCommit);
  EXPECT_EQ(cache.commit_of("refs/pr/1"), kCommit);
  std::ofstream(cache.folder() / "refs/odd") << "../../../etc";
  EXPECT_EQ(cache.commit_of("odd"), std::nullopt);
  cache.note_missing(kCommit, "x/y.json");
  EXPECT_TRUE(fs::exists(cache.folder() / ".no_exist" / kCommit / "x/y.json"));
}

TEST(CacheLock, OneAtATime) {
  const TempFolder temp;
  const fs::path file = temp.path() / "locks/e.lock";
  std::atomic<int> inside{0}, most{0}, waited{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const CacheLock lock(file, [&] { ++waited; });
      most = std::max(most.load(), ++inside);
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      --inside;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(waited, 3);
}

// Who waits for a file that its holder removes must not come away with a lock on nothing.
TEST(CacheLock, SurvivesTheRemovalOfItsFile) {
  const TempFolder temp;
  const fs::path file = temp.path() / "e.lock";
  auto first = std::make_unique<CacheLock>(file, std::function<void()>());
  std::atomic<bool> waiting{false}, held{false};
  std::thread other([&] {
    const CacheLock lock(file, [&] { waiting = true; });
    EXPECT_TRUE(fs::exists(file));
    held = true;
  });
  while (!waiting) std::this_thread::yield();
  EXPECT_FALSE(held);
  fs::remove(file);
  first.reset();
  other.join();
  EXPECT_TRUE(held);
}

}  // namespace
}  // namespace aquatint::hub
