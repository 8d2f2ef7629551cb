# Built-in recipes travel inside the program: assets/recipes/*.yaml become one generated source in the build tree.
function(aquatint_embed_recipes output)
  file(GLOB recipes CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/assets/recipes/*.yaml)
  list(TRANSFORM recipes REPLACE "\\.yaml$" "")
  list(SORT recipes)
  set(rows "")
  foreach(recipe IN LISTS recipes)
    get_filename_component(name ${recipe} NAME)
    string(APPEND recipe ".yaml")
    file(READ ${recipe} text)
    string(APPEND rows "    {\"${name}\", R\"recipe(${text})recipe\"},\n")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${recipe})
  endforeach()
  file(CONFIGURE OUTPUT ${output} CONTENT
"#include \"quantize/builtin_recipes.h\"

namespace aquatint {
const std::vector<BuiltinRecipe>& builtin_recipes() {
  static const std::vector<BuiltinRecipe> recipes = {
@rows@  };
  return recipes;
}
}  // namespace aquatint
" @ONLY)
endfunction()
