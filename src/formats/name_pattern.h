// The "re:" patterns of a quantization_config: Python regular expressions over module names. They
// come from files that anybody may have written, so matching has limits instead of an exponential
// worst case.
#pragma once

#include <memory>
#include <string>

namespace aquatint {

class NamePattern {
 public:
  // Error kUnsupported for a pattern that PCRE2 cannot compile; `origin` is the file it is from.
  NamePattern(const std::string& pattern, const std::string& origin);
  // Whether it matches at the start of `name`, as Python's re.match. Error kUnsupported past the
  // limits.
  bool matches(const std::string& name) const;

 private:
  struct Code;
  std::string pattern_, origin_;
  std::shared_ptr<const Code> code_;
};

}  // namespace aquatint
