#include "base/large_pages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace aquatint {
namespace {

TEST(LargePages, AreZeroedAlignedAndApart) {
  constexpr std::size_t kSizes[] = {0, 1, 65, 65535, 65537, 1 << 20, (64 << 20) + 1, 3 << 20};
  struct Piece {
    std::shared_ptr<void> memory;
    std::size_t bytes;
    unsigned char mark;
  };
  std::vector<Piece> pieces;
  unsigned char mark = 0;
  for (int round = 0; round < 3; ++round) {
    for (const std::size_t bytes : kSizes) {
      Piece piece{allocate_on_large_pages(bytes), bytes, ++mark};
      ASSERT_NE(piece.memory, nullptr);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece.memory.get()) % 64, 0u);
      auto* p = static_cast<unsigned char*>(piece.memory.get());
      EXPECT_TRUE(bytes == 0 || (p[0] == 0 && std::memcmp(p, p + 1, bytes - 1) == 0));
      std::memset(p, piece.mark, bytes);
      pieces.push_back(std::move(piece));
    }
    // What is returned in between must not come back dirty, nor take others with it.
    pieces.erase(pieces.begin() + round);
  }
  for (const Piece& piece : pieces) {
    const auto* p = static_cast<const unsigned char*>(piece.memory.get());
    EXPECT_TRUE(piece.bytes == 0 ||
                (p[0] == piece.mark && std::memcmp(p, p + 1, piece.bytes - 1) == 0));
  }
}

TEST(LargePages, SaysWhenThereIsNone) {
  EXPECT_EQ(allocate_on_large_pages(~std::size_t{0} / 4), nullptr);
}

}  // namespace
}  // namespace aquatint
