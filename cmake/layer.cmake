# aquatint_layer(<name> [DEPENDS layers…] [LINK libraries…] [SOURCES generated…]): the static library of src/<name>, its
# unit tests (every *_test.cc, one executable <name>_test) and its benchmarks (*_bench.cc, <name>_bench).
# Sources are found by name, so that adding a file touches no build file.
function(aquatint_layer name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LINK;SOURCES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cc)
  set(tests ${sources})
  set(benches ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")
  list(FILTER sources EXCLUDE REGEX "_(test|bench|fuzz)\\.cc$")
  aquatint_apply_isa_flags(sources)

  set(depends ${arg_DEPENDS})
  list(TRANSFORM depends PREPEND aquatint_)
  if(NOT sources)
    add_library(aquatint_${name} INTERFACE)
    target_link_libraries(aquatint_${name} INTERFACE ${depends})
    return()
  endif()
  add_library(aquatint_${name} STATIC ${sources} ${arg_SOURCES})
  target_include_directories(aquatint_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(aquatint_${name} PUBLIC ${depends} PRIVATE ${arg_LINK} aquatint_warnings)

  if(AQUATINT_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE aquatint_${name} aquatint_testing ${arg_LINK}
                          aquatint_warnings GTest::gtest GTest::gtest_main)
    # Tests run beside each other: threads that spin while they wait would only take each other's time.
    gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60
                         PROPERTIES TIMEOUT 600 ENVIRONMENT OMP_WAIT_POLICY=passive)
  endif()
  if(AQUATINT_BENCH AND benches)
    add_executable(${name}_bench ${benches})
    target_link_libraries(${name}_bench PRIVATE aquatint_${name} ${arg_LINK} aquatint_warnings
                          benchmark::benchmark benchmark::benchmark_main)
  endif()
endfunction()
