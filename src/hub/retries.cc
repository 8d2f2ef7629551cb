#include "hub/retries.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/printable.h"
#include "base/progress.h"

namespace aquatint::hub {

Retries::Retries(const Patience& patience, std::string what, const std::atomic<bool>* stop)
    : patience_(patience), what_(std::move(what)), stop_(stop) {}

bool Retries::may_pass(const HttpResponse& response) {
  constexpr std::array kCodes = {408, 429, 500, 502, 503, 504};
  if (!response.failure.empty()) return !response.failure_lasts;
  return std::find(kCodes.begin(), kCodes.end(), response.status) != kCodes.end();
}

bool Retries::again(const HttpResponse& response) {
  if (stop_ != nullptr && *stop_) return false;
  if (++failures_ >= patience_.tries) return false;
  double seconds =
      std::min(patience_.longest_seconds, patience_.first_seconds * std::exp2(failures_ - 1));
  if (const auto asked = retry_after_seconds(response.header("retry-after"))) {
    if (*asked > patience_.longest_asked) {
      raise(ErrorKind::kIo, "{}: {}, and the server asks to come back in {}", what_,
            describe_failure(response), format_duration(*asked));
    }
    seconds = std::max(*asked, patience_.first_seconds);
  }
  log(LogLevel::kInfo, "{}: {}; trying again in {:.1f} s", what_, describe_failure(response),
      seconds);
  wait(seconds);
  return stop_ == nullptr || !*stop_;
}

void Retries::wait(double seconds) const {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end && (stop_ == nullptr || !*stop_)) {
    std::this_thread::sleep_for(
        std::min<std::chrono::duration<double>>(end - Clock::now(), std::chrono::milliseconds(50)));
  }
}

std::string describe_failure(const HttpResponse& response) {
  constexpr int kTooMany = 429;
  if (!response.failure.empty()) return printable(response.failure);
  std::string text = fmt::format("the server answers {}", response.status);
  if (response.status == kTooMany) text += " (too many requests)";
  const std::string message = response.header("x-error-message");
  if (!message.empty()) text += ": " + printable(message);
  return text;
}

}  // namespace aquatint::hub
