// Little-endian numbers and runs of bytes read one after the other from a file in memory. Whatever
// does not fit is one error that says what was being read and where.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace aquatint {

class ByteReader {
 public:
  // `origin` is what error messages call the file; it must outlive the reader.
  ByteReader(std::span<const std::byte> file, const std::string& origin, std::size_t position = 0)
      : file_(file), origin_(origin), position_(position) {}

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return file_.size() - position_; }
  const std::string& origin() const { return origin_; }
  // `what` completes "the file ends inside …".
  std::span<const std::byte> bytes(std::uint64_t count, const char* what) {
    if (count > remaining()) {
      raise(ErrorKind::kCorrupt, "'{}': the file ends inside {} ({} bytes at byte {} of {})",
            origin_, what, count, position_, file_.size());
    }
    const auto found = file_.subspan(position_, static_cast<std::size_t>(count));
    position_ += static_cast<std::size_t>(count);
    return found;
  }
  std::string_view text(std::uint64_t count, const char* what) {
    const auto found = bytes(count, what);
    return {reinterpret_cast<const char*>(found.data()), found.size()};
  }
  template <typename T>
  T number(const char* what) {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, bytes(sizeof(T), what).data(), sizeof(T));
    return value;
  }

 private:
  std::span<const std::byte> file_;
  const std::string& origin_;
  std::size_t position_;
};

}  // namespace aquatint
