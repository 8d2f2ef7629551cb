// When a request that failed is tried again, and after how long.
#pragma once

#include <atomic>
#include <string>

#include "hub/http.h"
#include "hub/settings.h"

namespace aquatint::hub {

class Retries {
 public:
  // `what` is what messages begin with ("'org/model': file 'x'"). A wait ends early when `stop`
  // becomes true.
  Retries(const Patience& patience, std::string what, const std::atomic<bool>* stop = nullptr);

  // Whether such an answer may pass: no connection or a broken one, 408, 429, 500, 502, 503, 504.
  static bool may_pass(const HttpResponse& response);
  // After a failure that may pass: waits and returns true, or false when it was tried often enough
  // or is to stop. Waits as long as Retry-After says; error kIo when that is too long.
  bool again(const HttpResponse& response);
  // Something arrived: patience starts anew.
  void arrived() { failures_ = 0; }

 private:
  void wait(double seconds) const;
  Patience patience_;
  std::string what_;
  const std::atomic<bool>* stop_;
  int failures_ = 0;
};

// What went wrong in a few words: "503", "429 (rate limit)", "Connection refused".
std::string describe_failure(const HttpResponse& response);

}  // namespace aquatint::hub
