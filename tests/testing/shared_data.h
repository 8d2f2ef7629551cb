// Where tests find the reference material beside the project. It is not part of the project, so
// tests that need it are skipped without it, unless AQUATINT_REQUIRE_SHARED is set (as continuous
// integration does).
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace aquatint::testing {

// The repository; elsewhere than where it was built when AQUATINT_SOURCE_DIR says so, as when the
// tests are carried to a machine with a GPU.
inline std::filesystem::path source_dir() {
  const char* moved = std::getenv("AQUATINT_SOURCE_DIR");
  return moved != nullptr ? moved : AQUATINT_SOURCE_DIR;
}
inline std::filesystem::path shared_dir() {
  return source_dir().parent_path() / "shared";
}

}  // namespace aquatint::testing

// Skips (or fails) the test when the file or folder under shared/ is missing; else defines
// `variable`.
#define AQUATINT_SHARED_PATH(variable, relative)                                         \
  const std::filesystem::path variable = ::aquatint::testing::shared_dir() / (relative); \
  if (!std::filesystem::exists(variable)) {                                              \
    if (std::getenv("AQUATINT_REQUIRE_SHARED") != nullptr) {                             \
      FAIL() << variable << " is missing";                                               \
    }                                                                                    \
    GTEST_SKIP() << variable << " is not there";                                         \
  }
