#include "layers/context.h"

#include <vector>

namespace aquatint {

void ForwardContext::tap(const std::string& name, const char* suffix, const float* values,
                         std::int64_t rows, std::int64_t columns) const {
  if (taps == nullptr) return;
  const std::string full = name + suffix;
  if (!taps->wants(full)) return;
  if (!stream().is_cuda()) {
    taps->record(full, values, rows, columns);
    return;
  }
  std::vector<float> host(static_cast<std::size_t>(rows * columns));
  stream().copy(host.data(), values, host.size() * sizeof(float));
  stream().synchronize();
  taps->record(full, host.data(), rows, columns);
}

void ForwardContext::tap(const std::string& name, const char* suffix, const float* values,
                         std::int64_t rows, std::int64_t columns, std::int64_t ld) const {
  if (taps == nullptr) return;
  const std::string full = name + suffix;
  if (!taps->wants(full)) return;
  std::vector<float> dense;
  dense.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t row = 0; row < rows; ++row) {
    dense.insert(dense.end(), values + row * ld, values + row * ld + columns);
  }
  taps->record(full, dense.data(), rows, columns);
}

}  // namespace aquatint
