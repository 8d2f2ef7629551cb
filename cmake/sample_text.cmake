# The sample text travels inside the program: assets/text/sample.txt becomes one generated source in the build tree.
function(aquatint_embed_sample_text output)
  set(sample ${CMAKE_SOURCE_DIR}/assets/text/sample.txt)
  file(READ ${sample} text)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${sample})
  file(CONFIGURE OUTPUT ${output} CONTENT
"#include \"quantize/sample_text.h\"

namespace aquatint {
std::string_view sample_text() {
  return R\"sample(@text@)sample\";
}
}  // namespace aquatint
" @ONLY)
endfunction()
