#include "models/config_checks.h"

#include "base/error.h"
#include "kernels/activation/activation.h"

namespace aquatint {
namespace {

std::int64_t checked_size(const Config& config, const char* key, std::int64_t value) {
  if (value >= 1 && value <= kLargestSize) return value;
  raise(ErrorKind::kCorrupt, "'{}': {} is {}", config.origin(), key, value);
}

std::int64_t checked_blocks(const Config& config, const char* key, std::int64_t value) {
  constexpr std::int64_t kMostBlocks = 4096;
  if (value <= kMostBlocks) return checked_size(config, key, value);
  raise(ErrorKind::kUnsupported, "'{}': {} is {}, more than {}", config.origin(), key, value,
        kMostBlocks);
}

kernels::Activation known_activation(const Config& config, const char* key, const std::string& name,
                                     std::optional<kernels::Activation> activation) {
  if (activation) return *activation;
  raise(ErrorKind::kUnsupported, "'{}': {} '{}' is not supported", config.origin(), key, name);
}

}  // namespace

void require(bool condition, const Config& config, const char* what, std::int64_t value,
             std::int64_t by) {
  if (condition) return;
  raise(ErrorKind::kCorrupt, "'{}': {} ({} and {})", config.origin(), what, value, by);
}

double bounded(const Config& config, const char* key, double fallback, double low, double high) {
  const double value = config.get_double(key, fallback);
  if (value >= low && value <= high) return value;  // not so for NaN
  raise(ErrorKind::kCorrupt, "'{}': {} is {}", config.origin(), key, value);
}

std::int64_t size_key(const Config& config, const char* key) {
  return checked_size(config, key, config.get_int(key));
}

std::int64_t size_key(const Config& config, const char* key, std::int64_t fallback) {
  return checked_size(config, key, config.get_int(key, fallback));
}

std::int64_t blocks_key(const Config& config, const char* key) {
  return checked_blocks(config, key, config.get_int(key));
}

std::int64_t blocks_key(const Config& config, const char* key, std::int64_t fallback) {
  return checked_blocks(config, key, config.get_int(key, fallback));
}

kernels::Activation activation_key(const Config& config, const char* key, const char* fallback) {
  const std::string name = config.get_string(key, fallback);
  return known_activation(config, key, name, kernels::activation_from_name(name));
}

kernels::Activation transformers_activation_key(const Config& config, const char* key,
                                                const char* fallback) {
  const std::string name = config.get_string(key, fallback);
  return known_activation(config, key, name, kernels::activation_from_transformers(name));
}

}  // namespace aquatint
