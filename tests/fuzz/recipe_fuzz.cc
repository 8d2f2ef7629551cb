// Any text is a recipe or an Error; the selectors of a recipe answer for any name or raise an
// Error, soon.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "fuzz_message.h"
#include "quantize/recipe.h"

namespace {

void ask(const std::vector<aquatint::Selector>& selectors) {
  for (const aquatint::Selector& selector : selectors) {
    for (const char* module :
         {"", "lm_head", "model.layers.10.attn.gk_proj.0", "aaaaaaaaaaaaaaaaaaaa"}) {
      try {
        selector.matches(module, aquatint::Role::kMlpOut);
      } catch (const aquatint::Error& error) {
        aquatint::check_message(error);
        if (error.kind() != aquatint::ErrorKind::kUnsupported) std::abort();
      }
    }
  }
}

void check(const aquatint::Treatment& treatment) {
  if (!treatment.scheme) return;
  const aquatint::WeightScheme& weights = treatment.scheme->weights;
  const bool grouped = weights.granularity == aquatint::Granularity::kGroup;
  if (grouped != (weights.group_size > 0) || weights.bits < 2 || weights.bits > 8) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto recipe = aquatint::Recipe::parse(text, "fuzz.yaml");
    if (recipe.text != text) std::abort();
    check(recipe.projections);
    ask(recipe.ignore);
    for (const aquatint::RecipeOverride& rule : recipe.overrides) {
      check(rule.treatment);
      ask(rule.match);
    }
  } catch (const aquatint::Error& error) {
    aquatint::check_message(error);
    if (error.kind() != aquatint::ErrorKind::kInvalidArgument) std::abort();
  }
  return 0;
}
