// How the norms of rows are shared among threads, whichever norm it is and whatever form its rows
// are left in.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/threads.h"

namespace aquatint::kernels {

// Runs `function` over all rows on all threads; each gets a row buffer as `y` if `buffered`.
// Whether every call returned true. REQUIRES: args.columns > 0.
template <typename Args>
bool run_norm_rows(bool (*function)(const Args& args, std::int64_t begin,
                                    std::int64_t end) noexcept,
                   const Args& args, std::int64_t rows, bool buffered) {
  // Fewer elements than this are not worth waking another thread for.
  constexpr std::int64_t kElementsPerThread = 16384;
  std::atomic<bool> finite{true};
  const std::int64_t grain = std::max<std::int64_t>(1, kElementsPerThread / args.columns);
  parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    Args own = args;
    std::vector<float> buffer(buffered ? static_cast<std::size_t>(args.columns) : 0);
    if (buffered) own.y = buffer.data();
    if (!function(own, begin, end)) finite = false;
  });
  return finite;
}

}  // namespace aquatint::kernels
