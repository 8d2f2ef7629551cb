#include "base/threads.h"

#include <omp.h>

#include <algorithm>
#include <exception>
#include <vector>

namespace aquatint {
namespace {
const int g_default_threads = omp_get_max_threads();
}

void set_num_threads(int n) {
  omp_set_num_threads(n > 0 ? n : g_default_threads);
}

int num_threads() {
  return omp_get_max_threads();
}

namespace detail {

void parallel_ranges(std::int64_t n, std::int64_t grain, RangeFn fn, void* context) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t grains = (n + grain - 1) / grain;
  const std::int64_t parts = std::min<std::int64_t>(grains, num_threads());
  if (parts <= 1 || omp_in_parallel()) {
    fn(context, 0, n);
    return;
  }
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(parts));
#pragma omp parallel for schedule(static, 1) num_threads(static_cast <int>(parts))
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t begin = std::min(n, grains * part / parts * grain);
    const std::int64_t end = std::min(n, grains * (part + 1) / parts * grain);
    try {
      if (end > begin) fn(context, begin, end);
    } catch (...) {
      failures[static_cast<std::size_t>(part)] = std::current_exception();
    }
  }
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace detail
}  // namespace aquatint
