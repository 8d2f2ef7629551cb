# Warnings every target of ours is compiled with. -Werror only in the presets that developers and CI use.
option(AQUATINT_WERROR "Treat warnings as errors" OFF)
add_library(aquatint_warnings INTERFACE)
target_compile_options(aquatint_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wnon-virtual-dtor
  -Wold-style-cast -Woverloaded-virtual
  $<$<BOOL:${AQUATINT_WERROR}>:-Werror>)
