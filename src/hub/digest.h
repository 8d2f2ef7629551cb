// The hashes by which a Hub names the contents of files: SHA-256 of large ones, and of others the
// SHA-1 that git gives them, sha1("blob <size>\0" + contents).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace aquatint::hub {

class ContentDigest {
 public:
  // The hash that `etag` is: SHA-256 for 64 hexadecimal digits, git's SHA-1 for 40. Any other etag
  // cannot be checked, see known(). `size` is that of the contents in bytes.
  ContentDigest(std::string_view etag, std::uint64_t size);
  ~ContentDigest();
  ContentDigest(const ContentDigest&) = delete;
  ContentDigest& operator=(const ContentDigest&) = delete;

  bool known() const { return context_ != nullptr; }
  const char* name() const { return name_; }  // "sha256" or "git sha1"
  void update(const void* data, std::size_t size);
  // Hexadecimal digits of everything added; to be called once. REQUIRES known().
  std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
  const char* name_ = "";
};

}  // namespace aquatint::hub
