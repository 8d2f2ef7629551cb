#include "quantize/histogram_files.h"

#include <cmath>

#include "base/mapped_file.h"
#include "formats/zip_archive.h"
#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

using testing::TempFolder;

std::unique_ptr<Observer> histogram_of(const testing::Batch& batch,
                                       const ColumnGroups& groups = {}) {
  ObserverOptions options;
  options.name = "histogram";
  options.bins = 64;
  return testing::observed(options, groups, {batch});
}

TEST(TapHistogram, ComesFromAnObserver) {
  const auto batch = testing::random_batch(500, 4, 1);
  const auto observer = histogram_of(batch);
  const auto histograms = tap_histograms("a.input", *observer);
  ASSERT_EQ(histograms.size(), 1u);
  EXPECT_EQ(histograms[0].name, "a.input");
  EXPECT_EQ(histograms[0].counts.size(), 64u);
  EXPECT_EQ(histograms[0].edges.size(), 65u);
  EXPECT_EQ(histograms[0].total(), 2000.0);
  EXPECT_EQ(histograms[0].chosen, observer->ranges()[0]);
  const auto groups = tap_histograms("a", *histogram_of(batch, ColumnGroups::blocks(4, 2)));
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[1].name, "a[1]");
  EXPECT_EQ(groups[1].total(), 1000.0);
  testing::expect_error(ErrorKind::kInvalidArgument, "'a': its observer keeps no histogram",
                        [&] { tap_histograms("a", *testing::observed("min_max", batch)); });
}

TEST(TapHistogram, KnowsKurtosisAndWhatIsClipped) {
  TapHistogram two{"two", {1, 0, 0, 1}, {-2, -1, 0, 1, 2}, {-2, 2}, {-1.75f, 1.75f}};
  EXPECT_DOUBLE_EQ(two.kurtosis(), 1.0);
  EXPECT_DOUBLE_EQ(two.clipped(), 0.25);
  two.chosen = {-3, 3};
  EXPECT_EQ(two.clipped(), 0.0);
  const TapHistogram constant{"one", {0, 5}, {1.5, 2, 2.5}, {2, 2}, {2, 2}};
  EXPECT_EQ(constant.kurtosis(), 0.0);
  EXPECT_EQ(constant.clipped(), 0.0);
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(3.0f);
  testing::Batch batch{100000, 1, std::vector<float>(100000)};
  for (float& x : batch.values) x = normal(generator);
  EXPECT_NEAR(tap_histograms("normal", *histogram_of(batch))[0].kurtosis(), 3.0, 0.1);
}

TEST(HistogramsNpz, HoldsEveryTap) {
  const TempFolder folder;
  const auto batch = testing::random_batch(50, 4, 2);
  const auto histograms = tap_histograms("tap", *histogram_of(batch, ColumnGroups::channels(4)));
  write_histograms_npz(folder.path() / "h.npz", histograms);
  const std::string bytes = testing::read_bytes(folder.path() / "h.npz");
  const auto entries = read_zip_directory(std::as_bytes(std::span(bytes)), "h.npz");
  EXPECT_EQ(entries.size(), 1u + 4u * 5u);
  for (const char* what : {"counts", "edges", "min", "max", "chosen"}) {
    EXPECT_TRUE(entries.contains(fmt::format("r3_{}.npy", what))) << what;
  }
  const ZipEntry entry = entries.at("r2_counts.npy");
  const std::string tail = bytes.substr(entry.offset + entry.size - 256, 256);
  EXPECT_EQ(std::memcmp(tail.data(), histograms[2].counts.data(), 256), 0);
  write_histograms_npz(folder.path() / "none.npz", {});
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "none.npz"));
}

}  // namespace
}  // namespace aquatint
