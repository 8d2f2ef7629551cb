# AQUATINT_SANITIZE=address,undefined (or thread) instruments every target, ours and the tests'.
if(AQUATINT_SANITIZE)
  add_compile_options(-fsanitize=${AQUATINT_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${AQUATINT_SANITIZE})
endif()
