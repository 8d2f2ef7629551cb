#include "models/rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/rope/rope.h"
#include "models/config_checks.h"

namespace aquatint {
namespace {

constexpr double kLargestNumber = 1e12;  // of any factor or position

// What says how frequencies are scaled; empty when there is no such object.
std::optional<Config> scaling_object(const Config& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!config.has(key)) continue;
    const Config object = config.child(key);
    for (const char* nested : {"full_attention", "sliding_attention", "chunked_attention"}) {
      if (object.has(nested)) {
        config.raise_unsupported(key, "rotary frequencies that differ between layers");
      }
    }
    return object;
  }
  return std::nullopt;
}

std::string type_of(const Config& object) {
  return object.get_string(object.has("rope_type") ? "rope_type" : "type", "default");
}

double factor_of(const Config& object) {
  object.get_double("factor");  // missing: an error
  return bounded(object, "factor", 1.0, 1e-6, kLargestNumber);
}

// Positions of the model before its context was extended.
double original_positions(const Config& config, const Config& object, std::int64_t trained) {
  const char* key = "original_max_position_embeddings";
  const Config& holder = config.has(key) ? config : object;
  return bounded(holder, key, static_cast<double>(trained), 1.0, kLargestNumber);
}

void scale_llama3(const Config& config, const Config& object, std::int64_t trained,
                  std::vector<float>& inv_freq) {
  Llama3Scaling scaling{};
  scaling.factor = factor_of(object);
  scaling.low = bounded(object, "low_freq_factor", 1.0, 0.0, kLargestNumber);
  scaling.high = bounded(object, "high_freq_factor", 4.0, 0.0, kLargestNumber);
  scaling.original = original_positions(config, object, trained);
  if (!(scaling.high > scaling.low)) {
    raise(ErrorKind::kCorrupt, "'{}': high_freq_factor {} is not above low_freq_factor {}",
          config.origin(), scaling.high, scaling.low);
  }
  for (float& value : inv_freq) {
    value = static_cast<float>(scaling.frequency(static_cast<double>(value)));
  }
}

// The attention factor of YaRN for a stretch.
double yarn_magnitude(double stretch, double scale) {
  return stretch <= 1 ? 1.0 : 0.1 * scale * std::log(stretch) + 1.0;
}

// YaRN (Peng et al. 2023, arXiv:2309.00071): dimensions that turn often keep their frequency, those
// that turn less than once are interpolated, with a ramp between.
void scale_yarn(const Config& config, const Config& object, std::int64_t head_dim, double theta,
                std::int64_t trained, RopeSettings& settings) {
  const double original = original_positions(config, object, trained);
  const double factor =
      object.has("factor") ? factor_of(object) : static_cast<double>(trained) / original;
  const double fast = bounded(object, "beta_fast", 32.0, 1e-6, kLargestNumber);
  const double slow = bounded(object, "beta_slow", 1.0, 1e-6, kLargestNumber);
  const double d = static_cast<double>(head_dim);
  const auto dimension_of = [&](double turns) {
    return d * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  double low = dimension_of(fast), high = dimension_of(slow);
  if (object.get_bool("truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, d - 1);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < settings.inv_freq.size(); ++i) {
    const double w = static_cast<double>(settings.inv_freq[i]);
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    settings.inv_freq[i] = static_cast<float>(w / factor * ramp + w * (1 - ramp));
  }
  double attention = yarn_magnitude(factor, 1.0);
  const double mscale = object.get_double("mscale", 0.0);
  const double all_dim = object.get_double("mscale_all_dim", 0.0);
  if (mscale != 0 && all_dim != 0) {
    attention = yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all_dim);
  }
  settings.attention_factor =
      static_cast<float>(bounded(object, "attention_factor", attention, 0.0, kLargestNumber));
}

}  // namespace

double Llama3Scaling::frequency(double w) const {
  const double turns = original * w / (2 * std::numbers::pi);  // within the original positions
  if (turns > high) return w;
  const double mix = turns < low ? 0.0 : (turns - low) / (high - low);
  return (1 - mix) * w / factor + mix * w;
}

RopeSettings read_rope(const Config& config, std::int64_t head_dim, std::int64_t trained) {
  require(head_dim % 2 == 0, config, "the head size is odd, so it cannot be rotated", head_dim, 2);
  const auto scaling = scaling_object(config);
  const Config& object = scaling ? *scaling : config;
  for (const Config* holder : {&config, &object}) {
    if (holder->get_double("partial_rotary_factor", 1.0) != 1.0) {
      holder->raise_unsupported("partial_rotary_factor", "heads that are rotated in part");
    }
  }
  const Config& theta_holder = object.has("rope_theta") ? object : config;
  const double theta = bounded(theta_holder, "rope_theta", 1e4, 1.0 + 1e-6, 1e30);

  RopeSettings settings;
  settings.inv_freq = kernels::rope_inverse_frequencies(head_dim, theta);
  if (!scaling) return settings;
  const std::string type = type_of(object);
  if (type == "linear") {
    const double factor = factor_of(object);
    for (float& w : settings.inv_freq) {
      w = static_cast<float>(static_cast<double>(w) / factor);
    }
  } else if (type == "dynamic") {
    require(head_dim > 2, config, "dynamic rotary scaling needs larger heads", head_dim, 2);
    settings.dynamic = DynamicRope{theta, factor_of(object), trained};
  } else if (type == "llama3") {
    scale_llama3(config, object, trained, settings.inv_freq);
  } else if (type == "yarn") {
    scale_yarn(config, object, head_dim, theta, trained, settings);
  } else if (type != "default") {
    object.raise_unsupported(object.has("rope_type") ? "rope_type" : "type",
                             "supported are default, linear, dynamic, llama3 and yarn");
  }
  return settings;
}

}  // namespace aquatint
