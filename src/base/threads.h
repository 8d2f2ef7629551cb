// The one thread pool of the process (OpenMP's, shared with oneDNN). Work is split in a fixed way,
// so results do not depend on timing.
#pragma once

#include <cstdint>

namespace aquatint {

// Number of threads used by parallel_for and by library products; 0 restores the default (all
// cores).
void set_num_threads(int n);
int num_threads();

namespace detail {
using RangeFn = void (*)(void* context, std::int64_t begin, std::int64_t end);
void parallel_ranges(std::int64_t n, std::int64_t grain, RangeFn fn, void* context);
}  // namespace detail

// Calls body(begin, end) on contiguous parts of [0, n), each a multiple of `grain` long but the
// last, at most one part per thread. Runs inline when there is one part or when already inside a
// parallel region. The first exception thrown by a body is rethrown in the caller.
template <typename Body>
void parallel_for(std::int64_t n, std::int64_t grain, const Body& body) {
  detail::parallel_ranges(
      n, grain,
      [](void* context, std::int64_t begin, std::int64_t end) {
        (*static_cast<const Body*>(context))(begin, end);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace aquatint
