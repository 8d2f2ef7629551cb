// A recipe says what becomes of each tensor of a model: which numbers (scheme), which rounding, for
// which roles and names. Written in YAML (schema: docs/guide/recipes.md); an unknown key, a value
// out of range or a scheme nothing can run is an error with the line and, for keys and names, the
// nearest one that exists.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/compressed_tensors.h"
#include "formats/name_pattern.h"
#include "models/tensor_table.h"
#include "quantize/observer.h"
#include "quantize/transform_options.h"

namespace aquatint {

// Which tensors a rule is about: "role:mlp_out", "name:model.layers.0.*" (* any characters, ? one)
// or "re:.*gk_proj.*" (Perl's syntax, whole name). Names are module names, without ".weight".
class Selector {
 public:
  // Error kInvalidArgument for another form, an unknown role or a bad expression.
  static Selector parse(const std::string& text);
  // Error kUnsupported when an expression takes too many steps.
  bool matches(const std::string& module, Role role) const;
  // Whether it can be expected to match something in any model (roles need not).
  bool must_match() const { return kind_ != Kind::kRole; }
  const std::string& text() const { return text_; }

 private:
  enum class Kind { kRole, kGlob, kRegex };
  Kind kind_ = Kind::kRole;
  Role role_ = Role::kNorm;
  std::string pattern_, text_;
  std::optional<NamePattern> expression_;
};

// What a rule does to a tensor: a scheme, or nothing (kept in floating point).
struct Treatment {
  std::optional<ModuleScheme> scheme;
  ObserverOptions observer;  // of static activations
  std::string rounding = "nearest";
};

struct RecipeOverride {
  std::vector<Selector> match;
  Treatment treatment;
};

struct Recipe {
  std::string name, description;
  Treatment projections;                      // every projection but the low-rank gates
  std::optional<Treatment> head, embedding;   // kept unless the recipe says otherwise
  std::optional<TransformOptions> transform;  // of the float model, before anything is rounded
  std::vector<Selector> ignore;
  std::vector<RecipeOverride> overrides;  // the last that matches wins
  std::string text;                       // as read

  // Parses YAML; `origin` is what error messages call it.
  static Recipe parse(std::string_view yaml, const std::string& origin);
  // A built-in name or a path. Error kNotFound lists the built-in names and suggests the nearest.
  static Recipe load(const std::string& name_or_path);
};

// The candidate nearest to `word` by edit distance when it is near enough to be a slip; else empty.
std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace aquatint
