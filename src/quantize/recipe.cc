#include "quantize/recipe.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "quantize/builtin_recipes.h"
#include "quantize/rounding.h"
#include "quantize/transform.h"
#include "quantize/yaml_document.h"

namespace aquatint {
namespace {

constexpr std::size_t kLargest = std::size_t{64} << 10;  // bytes of a recipe

// A YAML mapping read against a closed list of keys.
class Section {
 public:
  Section(YAML::Node node, std::string origin, std::string where,
          const std::vector<std::string>& keys)
      : node_(std::move(node)), origin_(std::move(origin)), where_(std::move(where)) {
    if (!node_.IsMap()) fail(node_, "expected a mapping of keys to values");
    std::vector<std::string> seen;
    for (const auto& item : node_) {
      const auto key = item.first.as<std::string>("");
      if (std::find(seen.begin(), seen.end(), key) != seen.end()) {
        fail(item.first, fmt::format("key '{}' twice", key));
      }
      seen.push_back(key);
      if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
      const std::string near = nearest_word(key, keys);
      fail(item.first, fmt::format("unknown key '{}'{}", printable(key),
                                   near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
    }
  }

  bool has(const char* key) const { return node_[key].IsDefined() && !node_[key].IsNull(); }
  YAML::Node operator[](const char* key) const { return node_[key]; }
  const std::string& origin() const { return origin_; }

  template <typename T>
  T get(const char* key, T fallback) const {
    if (!has(key)) return fallback;
    try {
      return node_[key].as<T>();
    } catch (const YAML::Exception&) {
      fail(node_[key], fmt::format("'{}' has a value of the wrong type", key));
    }
  }

  std::string one_of(const char* key, const std::string& fallback,
                     const std::vector<std::string>& allowed) const {
    const auto value = get<std::string>(key, fallback);
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return value;
    const std::string near = nearest_word(value, allowed);
    fail(node_[key],
         fmt::format("'{}' is '{}', expected {}{}", key, printable(value), join(allowed),
                     near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
  }

  [[noreturn]] void fail(const YAML::Node& at, const std::string& what) const {
    const int line = at.IsDefined() ? at.Mark().line : node_.Mark().line;
    raise(ErrorKind::kInvalidArgument, "'{}': line {}: {}{}", origin_, std::max(line, 0) + 1,
          where_.empty() ? "" : where_ + ": ", what);
  }

  static std::string join(const std::vector<std::string>& words) {
    std::string text;
    for (std::size_t i = 0; i < words.size(); ++i) {
      text += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
    }
    return text;
  }

 private:
  YAML::Node node_;
  std::string origin_, where_;
};

WeightScheme parse_weights(const YAML::Node& node, const std::string& origin) {
  const Section section(node, origin, "weights",
                        {"bits", "granularity", "group_size", "symmetric"});
  WeightScheme scheme;
  scheme.bits = section.get<int>("bits", 8);
  if (scheme.bits != 2 && scheme.bits != 3 && scheme.bits != 4 && scheme.bits != 8) {
    section.fail(section["bits"], fmt::format("bits is {}, expected 2, 3, 4 or 8", scheme.bits));
  }
  scheme.symmetric = section.get<bool>("symmetric", true);
  const std::string granularity = section.one_of(
      "granularity", section.has("group_size") ? "group" : "row", {"tensor", "row", "group"});
  if (granularity == "tensor") scheme.granularity = Granularity::kTensor;
  if (granularity == "row") scheme.granularity = Granularity::kRow;
  if (granularity == "group") {
    scheme.granularity = Granularity::kGroup;
    scheme.group_size = section.get<std::int64_t>("group_size", 128);
    if (scheme.group_size < 8 || scheme.group_size % 8 != 0 || scheme.group_size > 65536) {
      section.fail(
          section["group_size"],
          fmt::format("group_size is {}, expected a multiple of 8 up to 65536", scheme.group_size));
    }
  } else if (section.has("group_size")) {
    section.fail(section["group_size"], "group_size needs granularity: group");
  }
  return scheme;
}

// "observer: percentile" or a mapping of its name and options.
ObserverOptions parse_observer(const Section& activations, bool symmetric) {
  ObserverOptions options;
  options.symmetric = symmetric;
  if (!activations.has("observer")) return options;
  const YAML::Node node = activations["observer"];
  if (node.IsScalar()) {
    options.name = activations.one_of("observer", options.name, range_observer_names());
    return options;
  }
  std::vector<std::string> keys = {"name", "percentile", "averaging", "bins"};
  const Section section(node, activations.origin(), "observer", keys);
  options.name = section.one_of("name", options.name, range_observer_names());
  keys = find_observer(options.name).options;
  for (const char* key : {"percentile", "averaging", "bins"}) {
    if (section.has(key) && std::find(keys.begin(), keys.end(), key) == keys.end()) {
      section.fail(section[key], fmt::format("the observer '{}' has no '{}'", options.name, key));
    }
  }
  options.percentile = section.get<double>("percentile", options.percentile);
  options.averaging = section.get<double>("averaging", options.averaging);
  options.bins = section.get<std::int64_t>("bins", options.bins);
  try {
    make_observer(options, ColumnGroups::tensor());
  } catch (const Error& error) {
    section.fail(node, error.what());
  }
  return options;
}

ActivationScheme parse_activations(const YAML::Node& node, const std::string& origin,
                                   ObserverOptions& observer) {
  const Section section(node, origin, "activations",
                        {"bits", "granularity", "dynamic", "symmetric", "observer"});
  const int bits = section.get<int>("bits", 16);
  const bool dynamic = section.get<bool>("dynamic", true);
  const bool symmetric = section.get<bool>("symmetric", true);
  if (bits != 16 && bits != 8) {
    section.fail(section["bits"], fmt::format("bits is {}, expected 8 or 16", bits));
  }
  if (dynamic && section.has("observer")) {
    section.fail(section["observer"], "only static activations (dynamic: false) are observed");
  }
  if (bits == 16) {
    if (!dynamic) section.fail(section["dynamic"], "static activations need bits: 8");
    return ActivationScheme::kFloat;
  }
  if (dynamic) {
    section.one_of("granularity", "token", {"token"});
    if (!symmetric) section.fail(section["symmetric"], "dynamic activations are symmetric");
    return ActivationScheme::kInt8Dynamic;
  }
  section.one_of("granularity", "tensor", {"tensor"});
  observer = parse_observer(section, symmetric);
  return symmetric ? ActivationScheme::kInt8Static : ActivationScheme::kInt8StaticAffine;
}

// The keys that make a treatment, in a section that may have others.
Treatment parse_treatment(const Section& section, const Treatment* base) {
  Treatment treatment;
  if (base != nullptr) treatment = *base;
  if (section.has("weights")) {
    if (!treatment.scheme) treatment.scheme.emplace();
    treatment.scheme->weights = parse_weights(section["weights"], section.origin());
  }
  if (section.has("activations")) {
    if (!treatment.scheme) section.fail(section["activations"], "activations without weights");
    treatment.scheme->activations =
        parse_activations(section["activations"], section.origin(), treatment.observer);
  }
  treatment.rounding = section.one_of("rounding", treatment.rounding, rounding_names());
  return treatment;
}

// A list, because several will be possible; each works on what the one before it leaves.
std::optional<TransformOptions> parse_transforms(const Section& top) {
  if (!top.has("transforms")) return std::nullopt;
  const YAML::Node list = top["transforms"];
  if (!list.IsSequence()) top.fail(list, "'transforms' is a list");
  if (list.size() == 0) return std::nullopt;
  if (list.size() > 1) top.fail(list[1], "this version applies one transform, not several");
  const Section section(list[0], top.origin(), "transforms", {"name", "alpha", "projections"});
  if (!section.has("name")) section.fail(list[0], "a transform needs 'name'");
  TransformOptions options;
  options.name = section.one_of("name", "", transform_names());
  options.alpha = section.get<double>("alpha", options.alpha);
  if (!(options.alpha >= 0.0 && options.alpha <= 1.0)) {
    section.fail(section["alpha"], fmt::format("alpha is {}, expected 0 to 1", options.alpha));
  }
  options.projections = section.get<bool>("projections", options.projections);
  return options;
}

// Counts the selectors of one recipe. Aliases repeat lists for a few bytes, and each expression
// costs time for every tensor of a model.
struct SelectorCount {
  static constexpr int kMost = 4096, kMostExpressions = 512;
  int all = 0, expressions = 0;

  bool add(std::string_view text) {
    expressions += text.starts_with("re:") ? 1 : 0;
    return ++all <= kMost && expressions <= kMostExpressions;
  }
};

std::vector<Selector> parse_selectors(const Section& section, const char* key,
                                      SelectorCount& count) {
  std::vector<Selector> selectors;
  if (!section.has(key)) return selectors;
  const YAML::Node node = section[key];
  const auto add = [&](const YAML::Node& item) {
    if (!item.IsScalar())
      section.fail(item, fmt::format("'{}' holds something else than text", key));
    if (!count.add(item.Scalar())) {
      section.fail(item, fmt::format("more than {} selectors, or {} expressions, in one recipe",
                                     SelectorCount::kMost, SelectorCount::kMostExpressions));
    }
    try {
      selectors.push_back(Selector::parse(item.as<std::string>()));
    } catch (const Error& error) {
      section.fail(item, error.what());
    }
  };
  if (node.IsSequence()) {
    for (const auto& item : node) add(item);
  } else {
    add(node);
  }
  return selectors;
}

RecipeOverride parse_override(const YAML::Node& node, const Recipe& recipe,
                              const std::string& origin, SelectorCount& count) {
  const Section section(node, origin, "overrides",
                        {"match", "keep", "weights", "activations", "rounding"});
  RecipeOverride result;
  result.match = parse_selectors(section, "match", count);
  if (result.match.empty()) section.fail(node, "an override needs 'match'");
  if (section.get<bool>("keep", false)) {
    if (section.has("weights") || section.has("activations") || section.has("rounding")) {
      section.fail(node, "'keep: true' leaves nothing to quantize");
    }
    return result;
  }
  result.treatment = parse_treatment(section, &recipe.projections);
  return result;
}

Recipe parse_document(const YAML::Node& document, const std::string& origin) {
  const Section top(document, origin, "",
                    {"version", "name", "description", "weights", "activations", "rounding",
                     "transforms", "ignore", "head", "embedding", "overrides"});
  Recipe recipe;
  const int version = top.get<int>("version", 1);
  if (version != 1) {
    top.fail(top["version"], fmt::format("version {}; this program reads version 1", version));
  }
  recipe.name = top.get<std::string>("name", std::filesystem::path(origin).stem().string());
  recipe.description = top.get<std::string>("description", "");
  recipe.projections = parse_treatment(top, nullptr);
  recipe.transform = parse_transforms(top);
  SelectorCount selectors;
  recipe.ignore = parse_selectors(top, "ignore", selectors);
  if (top.has("head")) {
    const Section section(top["head"], origin, "head", {"weights", "activations", "rounding"});
    recipe.head = parse_treatment(section, nullptr);
    if (!recipe.head->scheme) section.fail(top["head"], "'head' needs 'weights'");
  }
  if (top.has("embedding")) {
    const Section section(top["embedding"], origin, "embedding", {"weights", "rounding"});
    recipe.embedding = parse_treatment(section, nullptr);
    const auto& scheme = recipe.embedding->scheme;
    if (!scheme || scheme->weights.bits != 8 || !scheme->weights.symmetric ||
        scheme->weights.granularity != Granularity::kRow) {
      section.fail(top["embedding"],
                   "an embedding is quantized with weights {bits: 8, granularity: row}");
    }
  }
  if (top.has("overrides")) {
    if (!top["overrides"].IsSequence()) top.fail(top["overrides"], "'overrides' is a list");
    for (const auto& node : top["overrides"]) {
      recipe.overrides.push_back(parse_override(node, recipe, origin, selectors));
    }
  }
  const bool any_override =
      std::any_of(recipe.overrides.begin(), recipe.overrides.end(),
                  [](const auto& o) { return o.treatment.scheme.has_value(); });
  if (!recipe.projections.scheme && !recipe.head && !recipe.embedding && !any_override) {
    top.fail(document, "the recipe quantizes nothing: it has no 'weights'");
  }
  return recipe;
}

}  // namespace

Recipe Recipe::parse(std::string_view yaml, const std::string& origin) {
  if (yaml.size() > kLargest) {
    raise(ErrorKind::kInvalidArgument, "'{}': {} bytes are too many for a recipe", origin,
          yaml.size());
  }
  const YAML::Node document = single_yaml_document(yaml, origin);
  try {
    Recipe recipe = parse_document(document, origin);
    recipe.text = yaml;
    return recipe;
  } catch (const YAML::Exception& error) {
    raise(ErrorKind::kInvalidArgument, "'{}': line {}: {}", origin, error.mark.line + 1, error.msg);
  }
}

Recipe Recipe::load(const std::string& name_or_path) {
  std::vector<std::string> names;
  for (const BuiltinRecipe& builtin : builtin_recipes()) {
    if (builtin.name == name_or_path) return parse(builtin.text, builtin.name);
    names.push_back(builtin.name);
  }
  std::error_code error;
  if (std::filesystem::is_regular_file(name_or_path, error)) {
    return parse(read_text_file(name_or_path, kLargest), name_or_path);
  }
  const std::string near = nearest_word(name_or_path, names);
  raise(ErrorKind::kNotFound, "recipe '{}': no such file, and the built-in recipes are {}{}",
        printable(name_or_path), Section::join(names),
        near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
}

}  // namespace aquatint
