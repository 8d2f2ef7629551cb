// The recipes that travel inside the program (assets/recipes/*.yaml, embedded by the build).
#pragma once

#include <string>
#include <vector>

namespace aquatint {

struct BuiltinRecipe {
  std::string name;
  std::string text;  // YAML
};

// Sorted by name.
const std::vector<BuiltinRecipe>& builtin_recipes();

}  // namespace aquatint
