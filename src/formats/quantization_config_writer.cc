#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "base/error.h"
#include "formats/compressed_tensors.h"

namespace aquatint {
namespace {

// A module name cut at its numbers: "a.3.b.12.c" is "a." "3" ".b." "12" ".c".
struct NumberedName {
  std::vector<std::string> texts;    // one more than numbers
  std::vector<std::string> numbers;  // whole components only
};

NumberedName cut_numbers(const std::string& name) {
  NumberedName result;
  std::string text;
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    const bool number = !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
      return std::isdigit(static_cast<unsigned char>(c)) != 0;
    });
    if (number) {
      result.texts.push_back(std::move(text));
      result.numbers.push_back(part);
      text.clear();
    } else {
      text += part;
    }
    if (end < name.size()) text += '.';
    begin = end + 1;
  }
  result.texts.push_back(std::move(text));
  return result;
}

std::string escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalnum(byte) == 0 && c != '_') out += '\\';
    out += c;
  }
  return out;
}

// Says in few words which of all modules are meant. Modules that differ only in layer numbers share
// one pattern, if that pattern means no other module.
class TargetList {
 public:
  void add_module(const std::string& name) { ++total_[cut_numbers(name).texts]; }

  std::vector<std::string> targets(const std::vector<std::string>& names) const {
    std::vector<std::vector<std::string>> order;
    std::map<std::vector<std::string>, std::vector<std::string>> families;
    for (const std::string& name : names) {
      const auto texts = cut_numbers(name).texts;
      std::vector<std::string>& family = families[texts];
      if (family.empty()) order.push_back(texts);
      family.push_back(name);
    }
    std::vector<std::string> result;
    for (const auto& texts : order) append_family(texts, families[texts], result);
    return result;
  }

 private:
  void append_family(const std::vector<std::string>& texts, const std::vector<std::string>& names,
                     std::vector<std::string>& result) const {
    const bool whole = names.size() == total_.at(texts);
    if (names.size() == 1 || (!whole && texts.size() != 2)) {
      result.insert(result.end(), names.begin(), names.end());
      return;
    }
    std::string numbers = "\\d+";
    if (!whole) {
      numbers = "(";
      for (const std::string& name : names) {
        numbers += (numbers.size() > 1 ? "|" : "") + cut_numbers(name).numbers[0];
      }
      numbers += ")";
    }
    std::string pattern = "re:" + escape(texts[0]);
    for (std::size_t i = 1; i < texts.size(); ++i) pattern += numbers + escape(texts[i]);
    result.push_back(pattern + "$");
  }

  std::map<std::vector<std::string>, std::size_t> total_;  // modules per family
};

nlohmann::json weights_json(const WeightScheme& scheme) {
  const bool grouped = scheme.granularity == Granularity::kGroup;
  const char* strategy = grouped                                      ? "group"
                         : scheme.granularity == Granularity::kTensor ? "tensor"
                                                                      : "channel";
  return {{"num_bits", scheme.bits},
          {"type", "int"},
          {"symmetric", scheme.symmetric},
          {"strategy", strategy},
          {"group_size", grouped ? nlohmann::json(scheme.group_size) : nlohmann::json()},
          {"dynamic", false},
          {"actorder", nullptr},
          {"block_structure", nullptr},
          {"observer", "minmax"},
          {"observer_kwargs", nlohmann::json::object()}};
}

nlohmann::json activations_json(ActivationScheme scheme) {
  if (scheme == ActivationScheme::kFloat) return nullptr;
  const bool fixed = is_static(scheme);
  return {{"num_bits", 8},
          {"type", "int"},
          {"symmetric", scheme != ActivationScheme::kInt8StaticAffine},
          {"strategy", fixed ? "tensor" : "token"},
          {"group_size", nullptr},
          {"dynamic", !fixed},
          {"actorder", nullptr},
          {"block_structure", nullptr},
          {"observer", fixed ? nlohmann::json("minmax") : nlohmann::json()},
          {"observer_kwargs", nlohmann::json::object()}};
}

struct Group {
  ModuleScheme scheme;
  std::vector<std::string> linear, embedding;
};

// One group per scheme, the one with most linear modules last: its "Linear" matches every module,
// and compressed-tensors warns of patterns that find nothing left to match.
std::vector<Group> group_by_scheme(
    const std::vector<std::tuple<std::string, ModuleClass, ModuleScheme>>& modules) {
  std::vector<Group> groups;
  for (const auto& [name, cls, scheme] : modules) {
    const auto& wanted = scheme;
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const Group& g) { return g.scheme == wanted; });
    if (group == groups.end()) group = groups.insert(groups.end(), Group{scheme, {}, {}});
    (cls == ModuleClass::kLinear ? group->linear : group->embedding).push_back(name);
  }
  const auto most = std::max_element(
      groups.begin(), groups.end(),
      [](const auto& a, const auto& b) { return a.linear.size() < b.linear.size(); });
  std::rotate(most, most + 1, groups.end());
  return groups;
}

}  // namespace

const char* module_format(const ModuleScheme& scheme) {
  const bool packed = scheme.layout == WeightLayout::kInferred
                          ? scheme.activations == ActivationScheme::kFloat
                          : scheme.layout == WeightLayout::kPacked;
  return packed ? "pack-quantized" : "int-quantized";
}

nlohmann::json make_quantization_config(
    const std::vector<std::tuple<std::string, ModuleClass, ModuleScheme>>& modules,
    const std::vector<std::string>& ignored) {
  AQUATINT_ASSERT(!modules.empty());
  TargetList list;
  for (const auto& [name, cls, scheme] : modules) list.add_module(name);
  for (const std::string& name : ignored) list.add_module(name);

  const std::vector<Group> groups = group_by_scheme(modules);
  std::set<std::string> formats;
  bool inferred = true;
  for (const Group& group : groups) {
    formats.insert(module_format(group.scheme));
    inferred = inferred && group.scheme.layout == WeightLayout::kInferred;
  }

  nlohmann::json config_groups = nlohmann::json::object();
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Group& group = groups[i];
    std::vector<std::string> targets;
    if (i + 1 == groups.size() && !group.linear.empty()) {
      targets.emplace_back("Linear");
    } else {
      targets = list.targets(group.linear);
    }
    const std::vector<std::string> embeddings = list.targets(group.embedding);
    targets.insert(targets.end(), embeddings.begin(), embeddings.end());
    nlohmann::json& json = config_groups["group_" + std::to_string(i)];
    json = {{"targets", targets},
            {"weights", weights_json(group.scheme.weights)},
            {"input_activations", activations_json(group.scheme.activations)},
            {"output_activations", nullptr}};
    // Only where it says something new: releases before this key refuse it.
    if (formats.size() > 1 || !inferred) json["format"] = module_format(group.scheme);
  }
  return {{"quant_method", "compressed-tensors"},
          {"format", formats.size() > 1 ? "mixed-precision" : *formats.begin()},
          {"quantization_status", "compressed"},
          {"global_compression_ratio", nullptr},
          {"kv_cache_scheme", nullptr},
          {"ignore", list.targets(ignored)},
          {"config_groups", std::move(config_groups)}};
}

}  // namespace aquatint
