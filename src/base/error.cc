#include "base/error.h"

namespace aquatint {

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
