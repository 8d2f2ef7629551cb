// Reads the numbers of a model configuration that must make sense before anything is built from
// them: sizes in range, sizes that divide each other, names of functions. What is wrong becomes an
// error that names the file, the key and the values.
#pragma once

#include <cstdint>

#include "formats/config.h"
#include "kernels/activation/activation_kind.h"

namespace aquatint {

// No dimension of a tensor is larger.
constexpr std::int64_t kLargestSize = std::int64_t{1} << 24;

// Error kCorrupt "'config.json': <what> (<value> and <by>)" unless the condition holds.
void require(bool condition, const Config& config, const char* what, std::int64_t value,
             std::int64_t by);
// The number under `key`, which must lie in [low, high]. Error kCorrupt.
double bounded(const Config& config, const char* key, double fallback, double low, double high);
// A size: an integer in [1, kLargestSize]. Error kCorrupt; without a fallback for an absent key
// too.
std::int64_t size_key(const Config& config, const char* key);
std::int64_t size_key(const Config& config, const char* key, std::int64_t fallback);
// A number of blocks: a size, of at most 4096. Error kCorrupt or kUnsupported.
std::int64_t blocks_key(const Config& config, const char* key);
std::int64_t blocks_key(const Config& config, const char* key, std::int64_t fallback);
// The activation named under `key`. Error kUnsupported for a name that is not known.
kernels::Activation activation_key(const Config& config, const char* key, const char* fallback);
// The same in configurations of transformers, where "gelu" is the exact form.
kernels::Activation transformers_activation_key(const Config& config, const char* key,
                                                const char* fallback);

}  // namespace aquatint
