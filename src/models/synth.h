// Makes a checkpoint of any shape with random weights, so that speed and memory can be measured at
// sizes for which no trained model is at hand.
#pragma once

#include <cstdint>
#include <filesystem>

#include "formats/config.h"
#include "models/architecture.h"

namespace aquatint {

struct SynthOptions {
  std::string architecture;  // what the configuration must describe; empty: anything
  std::filesystem::path output;
  DType dtype = DType::kBF16;
  std::uint64_t seed = 0;
  std::int64_t max_shard_bytes = std::int64_t{5} << 30;
};

// Writes config.json and safetensors files. Values are normal with the variance that keeps
// activations of order one; the same seed gives the same bytes. Error kInvalidArgument when the
// folder exists or the configuration is of another architecture than asked for.
void synthesize(const Config& config, const SynthOptions& options);

}  // namespace aquatint
