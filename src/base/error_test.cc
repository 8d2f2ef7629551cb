#include "base/error.h"

#include <gtest/gtest.h>

#include "base/printable.h"

namespace aquatint {
namespace {

TEST(Error, MessageIsOneShortLine) {
  EXPECT_STREQ(Error(ErrorKind::kIo, "'a b': größer").what(), "'a b': größer");
  EXPECT_STREQ(Error(ErrorKind::kIo, "a\nb\x1b[31m").what(), "a\\x0ab\\x1b[31m");
  const std::string whole(1000, 'x');
  EXPECT_EQ(Error(ErrorKind::kIo, whole).what(), whole);
  EXPECT_EQ(Error(ErrorKind::kIo, whole + "yz").what(), whole + "…");
  EXPECT_LT(std::string(Error(ErrorKind::kIo, std::string(100000, '\n')).what()).size(), 1020u);
}

TEST(Printable, CutsBetweenCharacters) {
  EXPECT_EQ(printable("größer", 3), "grö…");
  EXPECT_EQ(printable("größer", 4), "grö…");
  EXPECT_EQ(printable("größer", 5), "größ…");
  EXPECT_EQ(printable("größer"), "größer");
  EXPECT_EQ(printable(""), "");
  EXPECT_EQ(printable(std::string("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_LT(printable(std::string(1000, '\x80'), 20).size(), 40u);
}

}  // namespace
}  // namespace aquatint
