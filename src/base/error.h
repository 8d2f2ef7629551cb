// The one error type of the library. Everything that comes from files, configurations, devices or
// the user fails by throwing Error; its message starts with what the user can see (a file, a
// tensor, an option) and carries the actual values. Nothing in the library prints or exits: the
// program maps kinds to exit codes, other front ends map them to their own exceptions.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace aquatint {

enum class ErrorKind {
  kInvalidArgument,  // an option, a recipe or a prompt that cannot be honoured
  kNotFound,         // a file, tensor or task that is not there
  kCorrupt,          // a file that contradicts itself or its format
  kUnsupported,      // well-formed input this program does not handle
  kIo,               // the operating system refused to read or write
  kOutOfMemory,      // does not fit in memory or on disk
  kDevice,           // an accelerator is missing, too old or failed
  kNumeric,          // NaN or infinity where finite numbers are needed
  kInterrupted,      // stopped by the user
};

const char* error_kind_name(ErrorKind kind);

class Error : public std::runtime_error {
 public:
  // The message stays one line of at most about 1000 bytes that cannot drive a terminal, whatever
  // names and values from files it carries: see printable().
  Error(ErrorKind kind, const std::string& message);
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Throws Error with a formatted message.
template <typename... Args>
[[noreturn]] void raise(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

namespace detail {
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);
}

// Programmer errors only, never input: active in every build, so keep it out of inner loops.
#define AQUATINT_ASSERT(condition) \
  ((condition) ? void(0) : ::aquatint::detail::assertion_failed(#condition, __FILE__, __LINE__))

}  // namespace aquatint
