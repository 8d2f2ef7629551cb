// A fast 128-bit content hash (XXH3) for fingerprints: it tells files apart, it does not protect.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace aquatint {

class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void update(const void* data, std::size_t size);
  // Adds the text and its length, so that neighbouring fields cannot run together.
  void update(std::string_view text);
  // 32 hexadecimal digits of everything added so far.
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace aquatint
