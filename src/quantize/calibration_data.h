// What a model is calibrated on: sequences of tokens cut from texts, and an account of how.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace aquatint {

struct CalibrationData {
  std::string name;                             // of the file or the built-in sample
  std::vector<std::vector<TokenId>> sequences;  // none empty
  std::int64_t documents = 0;                   // read
  std::int64_t skipped = 0;                     // of these, shorter than the minimum length

  std::int64_t tokens() const;
  // Changes when the sequences do.
  std::string fingerprint() const;
};

}  // namespace aquatint
