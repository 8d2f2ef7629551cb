// Messages for the person who runs the program. Silent until a front end calls init_logging.
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace aquatint {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// Sends messages of `level` and above to standard error.
void init_logging(LogLevel level);
bool log_enabled(LogLevel level);
void log_message(LogLevel level, std::string_view message);

template <typename... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(level)) log_message(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace aquatint
