#include "quantize/histogram_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/printable.h"
#include "base/process.h"
#include "formats/atomic_file.h"
#include "quantize/histogram_page.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;

constexpr double kBottom = 0.5;  // of the axis of counts: a single value is still visible

// Lines and shades before the counts, so that these stay readable.
constexpr std::string_view kStyle = R"(set encoding utf8
set terminal pngcairo size 1120,520 font 'sans,13' background '#ffffff'
set border 3 lc rgb '#666666'
set tics nomirror out
set key off
set style fill solid 1.0 noborder
set logscale y
set format y '10^{%L}'
set grid ytics lc rgb '#e4e4e4' lw 1
set ylabel 'values per bin' textcolor rgb '#555555'
set lmargin 10
set rmargin 4
)";

// For gnuplot, in single quotes.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

std::string file_name(const std::string& tap, std::set<std::string>& taken) {
  std::string name;
  for (const char c : tap.substr(0, 150)) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-';
    name += plain ? c : '_';
  }
  if (name.empty() || name.front() == '.') name = "tap" + name;
  std::string unique = name;
  for (int n = 2; !taken.insert(unique).second; ++n) unique = fmt::format("{}-{}", name, n);
  return unique + ".png";
}

// The outside of the chosen range in grey, and its two ends as lines.
std::string marks(const TapHistogram& histogram, double left, double right) {
  const auto shade = [](int id, double from, double to) {
    return fmt::format(
        "set object {} rect from {:.9g}, graph 0 to {:.9g}, graph 1 behind "
        "fc rgb '#f3ece4' fs solid noborder\n",
        id, from, to);
  };
  const auto line = [](int id, double x) {
    return fmt::format(
        "set arrow {} from {:.9g}, graph 0 to {:.9g}, graph 1 nohead front "
        "lc rgb '#c0531c' lw 1.5 dt 2\n",
        id, x, x);
  };
  std::string out = "unset object\nunset arrow\n";
  if (histogram.chosen.min > left) out += shade(1, left, histogram.chosen.min);
  if (histogram.chosen.max < right) out += shade(2, histogram.chosen.max, right);
  return out + line(1, histogram.chosen.min) + line(2, histogram.chosen.max);
}

std::string plot_commands(const TapHistogram& histogram, const fs::path& file) {
  double left = std::min(histogram.edges.front(), histogram.chosen.min);
  double right = std::max(histogram.edges.back(), histogram.chosen.max);
  const double margin = 0.015 * (right - left);
  left -= margin;
  right += margin;
  const float most = *std::max_element(histogram.counts.begin(), histogram.counts.end());
  std::string out = fmt::format("set output {}\n$data << END\n", quoted(file.string()));
  // One outline, since the edges of a thousand bars would blur into stripes. What is zero stands on
  // the axis.
  for (std::size_t i = 0; i < histogram.counts.size(); ++i) {
    out += fmt::format("{:.9g} {:.9g}\n", histogram.edges[i],
                       std::max(static_cast<double>(histogram.counts[i]), kBottom));
  }
  out += fmt::format("{:.9g} {:.9g}\n", histogram.edges.back(), kBottom);
  out += "END\n" + marks(histogram, left, right);
  out += fmt::format("set title {} noenhanced font 'sans,15'\n",
                     quoted(printable(histogram.name, 110)));
  out += fmt::format(
      "set xlabel 'values {:.4g} to {:.4g};  range {:.4g} to {:.4g};  {} clipped;  "
      "kurtosis {}' noenhanced textcolor rgb '#555555'\n",
      histogram.seen.min, histogram.seen.max, histogram.chosen.min, histogram.chosen.max,
      percent(histogram.clipped()), kurtosis_text(histogram.kurtosis()));
  out += fmt::format(
      "set xrange [{:.9g}:{:.9g}]\nset yrange [{}:{:.9g}]\n"
      "plot $data using 1:2 with fillsteps lc rgb '#2f6690'\n",
      left, right, kBottom, std::max(2.0, 2.0 * most));
  return out;
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  if (!error) fs::create_directories(folder, error);
  if (error) {
    raise(ErrorKind::kIo, "'{}': cannot create the folder: {}", folder.string(), error.message());
  }
}

// Draws pictures of all in `folder`, which exists, and returns their names.
std::vector<std::string> draw(const fs::path& folder, const std::vector<TapHistogram>& histograms) {
  std::set<std::string> taken;
  std::vector<std::string> pictures;
  std::string commands(kStyle);
  for (const TapHistogram& histogram : histograms) {
    pictures.push_back(file_name(histogram.name, taken));
    commands += plot_commands(histogram, folder / pictures.back());
  }
  const fs::path script = folder / "plot.gnuplot";
  write_text_file(script, commands + "set output\n");
  try {
    run_process(find_program("gnuplot"), {script.string()});
  } catch (const Error& error) {
    raise(ErrorKind::kIo, "'{}': {}", folder.string(), error.what());
  }
  fs::remove(script);
  for (const std::string& picture : pictures) {
    std::error_code error;
    if (fs::file_size(folder / picture, error) == 0 || error) {
      raise(ErrorKind::kIo, "'{}': gnuplot did not draw it", (folder / picture).string());
    }
    sync_path(folder / picture);
  }
  return pictures;
}

}  // namespace

void check_histogram_plots(const fs::path& folder) {
  if (find_program("gnuplot").empty()) {
    raise(ErrorKind::kNotFound,
          "plots of histograms are drawn by gnuplot, which is not in $PATH (Debian: gnuplot-nox)");
  }
  std::error_code ignored;
  if (fs::exists(folder, ignored) &&
      !(fs::is_directory(folder, ignored) && fs::is_empty(folder, ignored))) {
    raise(ErrorKind::kInvalidArgument, "'{}' exists already and is not an empty folder",
          folder.string());
  }
}

void write_histogram_plots(const fs::path& folder, const std::vector<TapHistogram>& histograms) {
  check_histogram_plots(folder);
  const fs::path final = fs::absolute(folder / "").parent_path();  // without a slash at its end
  const fs::path partial = final.string() + ".partial";
  make_folder(partial);
  try {
    const std::vector<std::string> pictures = draw(partial, histograms);
    write_text_file(partial / "index.html", histogram_page(histograms, pictures));
    rename_durably(partial, final);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(partial, ignored);
    throw;
  }
}

}  // namespace aquatint
