// Memory for weights, which are read from end to end at the speed of memory for each token: there
// small pages cost 10 to 15 %, and most matrices are too small to consist of large pages alone.
#pragma once

#include <cstddef>
#include <memory>

namespace aquatint {

// Zeroed memory aligned to 64 bytes, null if there is none. Requests follow one another in blocks
// that are made of large pages where the system offers them, so neither the ends of a matrix nor
// small ones lie elsewhere. A block returns to the system with the last pointer into it. Pages that
// were never touched take no memory. Any thread may call it.
std::shared_ptr<void> allocate_on_large_pages(std::size_t bytes);

}  // namespace aquatint
