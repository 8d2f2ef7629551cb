// Rotary frequencies from a configuration, in the three spellings that files have: rope_theta with
// rope_scaling (and the type under "rope_type" or, older, "type"), or both nested in
// rope_parameters. Formulas: docs/models/llama.md.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "formats/config.h"
#include "layers/attention_mixer.h"

namespace aquatint {

struct RopeSettings {
  std::vector<float> inv_freq;         // [head_dim / 2]
  float attention_factor = 1;          // multiplies cosines and sines: scores by its square
  std::optional<DynamicRope> dynamic;  // of type "dynamic"
};

// A frequency w as Llama 3.1 scales it for a model that had `original` positions before: one that
// turns more than `high` times in them stays, one that turns less than `low` times is divided by
// `factor`, and those between are mixed.
struct Llama3Scaling {
  double original, factor, low, high;
  double frequency(double w) const;
};

// Types default, linear, dynamic, llama3 and yarn, for heads of head_dim values in a model of
// `trained` positions. Error kUnsupported, naming the key, for longrope and other types, for
// frequencies that differ between layers and for heads that are rotated in part; kCorrupt for
// numbers that make no sense.
RopeSettings read_rope(const Config& config, std::int64_t head_dim, std::int64_t trained);

}  // namespace aquatint
