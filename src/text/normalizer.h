// The normalizer of tokenizer.json: rewrites a piece of input before it is split into words.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "text/aligned_text.h"

namespace aquatint::text {

class NormalizerStep {
 public:
  virtual ~NormalizerStep() = default;
  // Error kUnsupported when the result would be longer than `limit` bytes.
  virtual void apply(AlignedText& text, std::size_t limit) const = 0;
};

class Normalizer {
 public:
  // From the "normalizer" member; null is the identity. Error kUnsupported for an unknown type.
  static Normalizer parse(const nlohmann::json& spec, const std::string& where);

  bool is_identity() const { return steps_.empty(); }
  void apply(AlignedText& text) const;

 private:
  std::vector<std::unique_ptr<const NormalizerStep>> steps_;
};

}  // namespace aquatint::text
