#include "quantize/histogram_files.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "formats/npz_file.h"

namespace aquatint {
namespace {

const Tensor& find(const std::vector<std::pair<std::string, Tensor>>& tensors,
                   const std::string& tap, const char* name) {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return tensor;
  }
  raise(ErrorKind::kInvalidArgument, "'{}': its observer keeps no histogram", tap);
}

std::vector<float> row(const Tensor& tensor, std::int64_t i) {
  const float* begin = tensor.data<float>() + i * tensor.dim(1);
  return {begin, begin + tensor.dim(1)};
}

}  // namespace

double TapHistogram::total() const {
  return std::accumulate(counts.begin(), counts.end(), 0.0);
}

double TapHistogram::kurtosis() const {
  const auto moment = [this](double center, int power) {
    double sum = 0.0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const double x = (static_cast<double>(edges[i]) + edges[i + 1]) / 2 - center;
      sum += counts[i] * (power == 1 ? x : power == 2 ? x * x : x * x * x * x);
    }
    return sum / total();
  };
  const double mean = moment(0.0, 1);
  const double variance = seen.min == seen.max ? 0.0 : moment(mean, 2);
  return variance > 0.0 ? moment(mean, 4) / (variance * variance) : 0.0;
}

double TapHistogram::clipped() const {
  double inside = 0.0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double begin = edges[i], end = edges[i + 1];
    if (counts[i] == 0.0f) continue;
    // A constant, or values so close that float32 has nothing between: not spread over a bin.
    if (seen.min == seen.max || begin == end) {
      const float value = seen.min == seen.max ? seen.min : edges[i];
      inside += value >= chosen.min && value <= chosen.max ? counts[i] : 0.0f;
      continue;
    }
    const double part = std::min<double>(end, chosen.max) - std::max<double>(begin, chosen.min);
    inside += counts[i] * std::clamp(part / (end - begin), 0.0, 1.0);
  }
  // Rounded edges may leave a little outside that is not.
  const double share = 1.0 - inside / total();
  return share > 1e-9 ? share : 0.0;
}

std::vector<TapHistogram> tap_histograms(const std::string& tap, const Observer& observer) {
  const auto tensors = observer.tensors();
  const Tensor& counts = find(tensors, tap, "counts");
  const Tensor& edges = find(tensors, tap, "edges");
  const auto* min = find(tensors, tap, "min").data<float>();
  const auto* max = find(tensors, tap, "max").data<float>();
  const std::vector<Range> ranges = observer.ranges();
  std::vector<TapHistogram> histograms;
  for (std::size_t g = 0; g < ranges.size(); ++g) {
    const std::string name = ranges.size() == 1 ? tap : fmt::format("{}[{}]", tap, g);
    const auto i = static_cast<std::int64_t>(g);
    histograms.push_back({name, row(counts, i), row(edges, i), {min[g], max[g]}, ranges[g]});
  }
  return histograms;
}

void write_histograms_npz(const std::filesystem::path& path,
                          const std::vector<TapHistogram>& histograms) {
  std::vector<std::string> names;
  for (const TapHistogram& histogram : histograms) names.push_back(histogram.name);
  std::vector<NpzArray> arrays = {npz_strings("names", names)};
  for (std::size_t i = 0; i < histograms.size(); ++i) {
    const TapHistogram& histogram = histograms[i];
    const auto key = [&](const char* what) { return fmt::format("r{}_{}", i, what); };
    const float chosen[] = {histogram.chosen.min, histogram.chosen.max};
    arrays.push_back(npz_floats(key("counts"), histogram.counts));
    arrays.push_back(npz_floats(key("edges"), histogram.edges));
    arrays.push_back(npz_float(key("min"), histogram.seen.min));
    arrays.push_back(npz_float(key("max"), histogram.seen.max));
    arrays.push_back(npz_floats(key("chosen"), chosen));
  }
  write_npz(path, arrays);
}

}  // namespace aquatint
