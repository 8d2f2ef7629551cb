#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/printable.h"
#include "formats/compressed_tensors.h"
#include "formats/name_pattern.h"

namespace aquatint {
namespace {

constexpr std::string_view kPatternPrefix = "re:";

bool is_pattern(std::string_view target) {
  return target.starts_with(kPatternPrefix);
}

// compressed-tensors forbids keys it does not know inside a scheme, because each may change the
// meaning of the numbers; so do we.
void reject_unknown_keys(const Config& config, std::initializer_list<std::string_view> known) {
  for (const std::string& key : config.keys()) {
    if (std::find(known.begin(), known.end(), key) == known.end() && config.has(key)) {
      config.raise_unsupported(key, "an unknown key");
    }
  }
}

void require_string(const Config& config, std::string_view key, std::string_view fallback,
                    std::initializer_list<std::string_view> supported, std::string_view reason) {
  const std::string value = config.get_string(key, std::string(fallback));
  if (std::find(supported.begin(), supported.end(), value) == supported.end()) {
    config.raise_unsupported(key, reason);
  }
}

void require_absent(const Config& config, std::string_view key, std::string_view reason) {
  if (config.has(key)) config.raise_unsupported(key, reason);
}

void check_common_args(const Config& args) {
  reject_unknown_keys(
      args, {"num_bits", "type", "symmetric", "group_size", "strategy", "block_structure",
             "dynamic", "actorder", "scale_dtype", "zp_dtype", "observer", "observer_kwargs"});
  require_string(args, "type", "int", {"int", "INT"}, "only integers are supported");
  require_absent(args, "block_structure", "scales of two-dimensional blocks are not supported");
}

// "dynamic" may be a boolean or the string "local".
bool is_dynamic(const Config& args) {
  if (!args.has("dynamic")) return false;
  if (args.json().at("dynamic").is_string()) {
    args.raise_unsupported("dynamic", "only true and false are supported");
  }
  return args.get_bool("dynamic");
}

Granularity parse_granularity(const Config& weights, std::int64_t group_size) {
  const char* inferred = group_size > 0 ? "group" : group_size == -1 ? "channel" : "tensor";
  const std::string strategy = weights.get_string("strategy", inferred);
  if (strategy == "group") {
    if (group_size <= 0) {
      weights.raise_unsupported("group_size", "the strategy 'group' needs a positive one");
    }
    return Granularity::kGroup;
  }
  if (group_size > 0) {
    weights.raise_unsupported("group_size", "only the strategy 'group' may have one");
  }
  if (strategy == "channel") return Granularity::kRow;
  if (strategy == "tensor") return Granularity::kTensor;
  weights.raise_unsupported("strategy", "weights must be quantized by tensor, channel or group");
}

WeightScheme parse_weights(const Config& weights) {
  check_common_args(weights);
  WeightScheme scheme;
  const std::int64_t bits = weights.get_int("num_bits", 8);
  if (bits < 2 || bits > 8) {
    weights.raise_unsupported("num_bits", "weights must have 2 to 8 bits");
  }
  scheme.bits = static_cast<int>(bits);
  scheme.symmetric = weights.get_bool("symmetric", true);
  if (is_dynamic(weights)) weights.raise_unsupported("dynamic", "weights must be static");
  // The order "weight" (alias "static") changes how GPTQ went about its work, not what is stored.
  if (weights.has("actorder")) {
    const nlohmann::json& order = weights.json().at("actorder");
    if (order != "weight" && order != "static" && order != false) {
      weights.raise_unsupported("actorder", "columns in another order are not supported");
    }
  }
  const std::int64_t group_size = weights.get_int("group_size", 0);
  scheme.granularity = parse_granularity(weights, group_size);
  if (scheme.granularity == Granularity::kGroup) scheme.group_size = group_size;
  return scheme;
}

ActivationScheme parse_activations(const Config& group) {
  if (!group.has("input_activations")) return ActivationScheme::kFloat;
  const Config args = group.child("input_activations");
  check_common_args(args);
  if (args.get_int("num_bits", 8) != 8) {
    args.raise_unsupported("num_bits", "quantized activations must have 8 bits");
  }
  require_absent(args, "actorder", "activations have no order");
  const bool symmetric = args.get_bool("symmetric", true);
  if (!is_dynamic(args)) {
    require_string(args, "strategy", "tensor", {"tensor"},
                   "static activations need one scale for all");
    return symmetric ? ActivationScheme::kInt8Static : ActivationScheme::kInt8StaticAffine;
  }
  if (!symmetric) {
    args.raise_unsupported("symmetric", "dynamic activations must be symmetric");
  }
  require_string(args, "strategy", "tensor", {"token"},
                 "dynamic activations need one scale per token");
  return ActivationScheme::kInt8Dynamic;
}

// The group's own format, else the checkpoint's. kInferred if it is what would be inferred anyway.
WeightLayout parse_layout(const Config& group, const std::string& top_format,
                          ActivationScheme activations) {
  const std::string format = group.get_string("format", top_format);
  const bool packed = format == "pack-quantized";
  const bool ints = format == "int-quantized" || format == "naive-quantized";
  const bool inferred_packed = activations == ActivationScheme::kFloat;
  if ((!packed && !ints) || packed == inferred_packed) return WeightLayout::kInferred;
  return packed ? WeightLayout::kPacked : WeightLayout::kInts;
}

// Nothing for a group that quantizes nothing.
std::optional<ModuleScheme> parse_group(const Config& group, const std::string& top_format) {
  reject_unknown_keys(group,
                      {"targets", "weights", "input_activations", "output_activations", "format"});
  require_absent(group, "output_activations", "quantized outputs are not supported");
  require_string(group, "format", "int-quantized",
                 {"int-quantized", "pack-quantized", "naive-quantized", "dense"},
                 "not a supported format");
  const ActivationScheme activations = parse_activations(group);
  if (!group.has("weights")) {
    if (activations != ActivationScheme::kFloat) {
      group.raise_unsupported("weights", "quantized activations need quantized weights");
    }
    return std::nullopt;
  }
  return ModuleScheme{parse_weights(group.child("weights")), activations,
                      parse_layout(group, top_format, activations)};
}

// What would change the results if it were ignored.
void check_top_level(const Config& config) {
  require_string(config, "quant_method", "", {"compressed-tensors"},
                 "only compressed-tensors is supported");
  require_string(config, "format", "int-quantized",
                 {"int-quantized", "pack-quantized", "naive-quantized", "mixed-precision"},
                 "not a supported format");
  require_string(config, "quantization_status", "compressed", {"compressed"},
                 "the weights must be stored compressed");
  require_absent(config, "kv_cache_scheme", "a quantized key-value cache is not supported");
  for (const char* key : {"transform_config", "sparsity_config", "moe_sparsity_config"}) {
    if (config.has(key) && !config.json().at(key).empty()) {
      config.raise_unsupported(key, "not supported");
    }
  }
}

const char* class_name(ModuleClass cls) {
  return cls == ModuleClass::kLinear ? "Linear" : "Embedding";
}

}  // namespace

struct QuantizationConfig::Rules {
  struct Pattern {
    NamePattern pattern;
    std::optional<ModuleScheme> scheme;
  };
  std::map<std::string, std::optional<ModuleScheme>> exact;  // names and classes
  std::vector<Pattern> patterns;
  std::set<std::string> ignored;
  std::vector<NamePattern> ignored_patterns;

  bool ignores(const std::string& module, ModuleClass cls) const {
    return ignored.count(module) > 0 || ignored.count(class_name(cls)) > 0 ||
           std::any_of(ignored_patterns.begin(), ignored_patterns.end(),
                       [&](const NamePattern& pattern) { return pattern.matches(module); });
  }
};

std::optional<QuantizationConfig> QuantizationConfig::from(const Config& config) {
  if (!config.has("quantization_config")) return std::nullopt;
  const Config top = config.child("quantization_config");
  check_top_level(top);

  std::map<std::string, std::optional<ModuleScheme>> targets;
  const Config groups = top.child("config_groups");
  for (const std::string& name : groups.keys()) {
    if (groups.has(name) && groups.json().at(name).is_array()) {
      groups.raise_unsupported(name, "named presets are not supported");
    }
    const Config group = groups.child(name);
    const std::optional<ModuleScheme> scheme = parse_group(group, top.get_string("format", ""));
    for (const std::string& target : group.get_strings("targets")) {
      const auto [known, added] = targets.emplace(target, scheme);
      if (!added && known->second != scheme) {
        group.raise_unsupported(
            "targets", fmt::format("'{}' has another scheme in another group", printable(target)));
      }
    }
  }

  auto rules = std::make_shared<Rules>();
  for (const auto& [target, scheme] : targets) {
    if (is_pattern(target)) {
      rules->patterns.push_back(
          {NamePattern(target.substr(kPatternPrefix.size()), config.origin()), scheme});
    } else {
      rules->exact.emplace(target, scheme);
    }
  }
  for (const std::string& entry : top.get_strings("ignore")) {
    if (is_pattern(entry)) {
      rules->ignored_patterns.emplace_back(entry.substr(kPatternPrefix.size()), config.origin());
    } else {
      rules->ignored.insert(entry);
    }
  }
  QuantizationConfig result;
  result.rules_ = std::move(rules);
  return result;
}

std::optional<ModuleScheme> QuantizationConfig::scheme_of(const std::string& module,
                                                          ModuleClass cls) const {
  AQUATINT_ASSERT(rules_ != nullptr);
  if (rules_->ignores(module, cls)) return std::nullopt;
  const auto exact = rules_->exact.find(module);
  if (exact != rules_->exact.end()) return exact->second;
  for (const Rules::Pattern& rule : rules_->patterns) {
    if (rule.pattern.matches(module)) return rule.scheme;
  }
  const auto by_class = rules_->exact.find(class_name(cls));
  return by_class == rules_->exact.end() ? std::nullopt : by_class->second;
}

}  // namespace aquatint
