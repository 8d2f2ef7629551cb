// Where tests find reference material: the repository's own files, and the shared folder beside it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace aquatint::testing_paths {

inline std::filesystem::path repository() {
  return AQUATINT_SOURCE_DIR;
}
inline std::filesystem::path shared() {
  return repository() / ".." / "shared";
}

// Whether a test must be skipped for want of the shared folder; a failure where that is required.
inline bool lacks_shared() {
  if (std::filesystem::exists(shared())) return false;
  if (std::getenv("AQUATINT_REQUIRE_SHARED") != nullptr) ADD_FAILURE() << "no " << shared();
  return true;
}

}  // namespace aquatint::testing_paths
