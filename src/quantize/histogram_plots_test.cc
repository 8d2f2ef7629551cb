#include "quantize/histogram_plots.h"

#include <cstdlib>

#include "base/process.h"
#include "quantize/observers/test_support.h"

namespace aquatint {
namespace {

using testing::TempFolder;

TapHistogram histogram_of(const std::string& tap, const testing::Batch& batch,
                          bool symmetric = true) {
  ObserverOptions options;
  options.name = "histogram";
  options.symmetric = symmetric;
  return tap_histograms(tap, *testing::observed(options, {}, {batch}))[0];
}

std::vector<TapHistogram> some() {
  const testing::Batch constant{9, 1, std::vector<float>(9, -3e9f)};
  testing::Batch normal = testing::random_batch(2000, 8, 3);
  for (float& x : normal.values) x = std::clamp(x, -3.0f, 3.0f);
  return {histogram_of("model.layers.0.attn.q_proj.input", normal),
          histogram_of("model.layers.0.mlp.down_proj.input", testing::random_batch(2000, 8, 4)),
          histogram_of("it's <odd> & \"x\"/..", testing::random_batch(20, 8, 5), false),
          histogram_of("it's <odd> & \"x\"/.;", testing::random_batch(20, 8, 5), false),
          histogram_of("constant", constant)};
}

bool is_png(const std::filesystem::path& path) {
  return testing::read_bytes(path).starts_with("\x89PNG\r\n\x1a\n");
}

TEST(HistogramPlots, DrawOnePictureForEachTapAndAPage) {
  if (find_program("gnuplot").empty()) GTEST_SKIP() << "no gnuplot";
  const TempFolder temp;
  const auto folder = temp.path() / "new" / "plots";
  write_histogram_plots(folder / "", some());
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files.push_back(entry.path().filename().string());
  }
  std::sort(files.begin(), files.end());
  EXPECT_EQ(files.size(), 6u);
  for (const std::string& file : files) {
    EXPECT_TRUE(file == "index.html" || is_png(folder / file)) << file;
  }
  EXPECT_TRUE(is_png(folder / "model.layers.0.attn.q_proj.input.png"));
  const std::string page = testing::read_bytes(folder / "index.html");
  EXPECT_NE(page.find("<img src=\"model.layers.0.mlp.down_proj.input.png\""), std::string::npos);
  EXPECT_NE(page.find("it's &lt;odd&gt; &amp; &quot;x&quot;"), std::string::npos);
  EXPECT_EQ(page.find("<odd>"), std::string::npos);
  // The tap with outliers is ranked first.
  EXPECT_NE(page.find("<td>1</td><td><a href=\"#tap1\">"), std::string::npos);
  EXPECT_EQ(temp.files(), std::vector<std::string>{"new"});
  EXPECT_FALSE(std::filesystem::exists(folder.string() + ".partial"));
}

TEST(HistogramPlots, LeaveAFolderThatHoldsSomethingAlone) {
  if (find_program("gnuplot").empty()) GTEST_SKIP() << "no gnuplot";
  const TempFolder temp;
  temp.write("mine", "x");
  testing::expect_error(ErrorKind::kInvalidArgument, "is not an empty folder",
                        [&] { check_histogram_plots(temp.path()); });
  testing::expect_error(ErrorKind::kInvalidArgument, "is not an empty folder",
                        [&] { write_histogram_plots(temp.path() / "mine", some()); });
  std::filesystem::create_directory(temp.path() / "empty");
  EXPECT_NO_THROW(check_histogram_plots(temp.path() / "empty"));
  write_histogram_plots(temp.path() / "empty", {});
  EXPECT_TRUE(std::filesystem::exists(temp.path() / "empty" / "index.html"));
}

// Looks for programs in `folder` only.
class Path {
 public:
  explicit Path(const std::filesystem::path& folder) {
    const char* const path = std::getenv("PATH");
    before_ = path == nullptr ? "" : path;
    ::setenv("PATH", folder.c_str(), 1);
  }
  ~Path() { ::setenv("PATH", before_.c_str(), 1); }

 private:
  std::string before_;
};

TEST(HistogramPlots, NameGnuplotWhenItIsMissing) {
  const Path path("/nowhere");
  testing::expect_error(ErrorKind::kNotFound, "gnuplot", [] { check_histogram_plots("plots"); });
}

TEST(HistogramPlots, LeaveNothingWhenGnuplotFails) {
  const TempFolder temp, programs;
  for (const char* script : {"#!/bin/sh\nexit 3\n", "#!/bin/sh\nexit 0\n"}) {
    const auto fake = programs.write("gnuplot", script);
    std::filesystem::permissions(fake, std::filesystem::perms::owner_all);
    const Path path(programs.path());
    testing::expect_error(ErrorKind::kIo, "gnuplot",
                          [&] { write_histogram_plots(temp.path() / "plots", some()); });
    EXPECT_TRUE(temp.files().empty());
  }
}

}  // namespace
}  // namespace aquatint
