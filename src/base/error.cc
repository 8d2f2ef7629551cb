#include "base/error.h"

#include "base/printable.h"

namespace aquatint {
namespace {

constexpr std::size_t kLongestMessage = 1000;  // bytes

}  // namespace

Error::Error(ErrorKind kind, const std::string& message)
    : std::runtime_error(printable(message, kLongestMessage)), kind_(kind) {}

const char* error_kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument:
      return "invalid argument";
    case ErrorKind::kNotFound:
      return "not found";
    case ErrorKind::kCorrupt:
      return "corrupt";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kIo:
      return "input/output";
    case ErrorKind::kOutOfMemory:
      return "out of memory";
    case ErrorKind::kDevice:
      return "device";
    case ErrorKind::kNumeric:
      return "numeric";
    case ErrorKind::kInterrupted:
      return "interrupted";
  }
  return "unknown";
}

namespace detail {
void assertion_failed(const char* condition, const char* file, int line) {
  throw std::logic_error(fmt::format("{}:{}: assertion failed: {}", file, line, condition));
}
}  // namespace detail

}  // namespace aquatint
