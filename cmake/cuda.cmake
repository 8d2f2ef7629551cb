# The CUDA module: every *.cu of src/ in one shared library beside the program, which loads it when
# there is a driver. It holds the CUDA runtime itself and links cuBLASLt; nothing else links CUDA.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real)
endif()
if(NOT DEFINED CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(AQUATINT_NVCC nvcc PATHS /usr/local/cuda/bin)
  if(NOT AQUATINT_NVCC)
    message(FATAL_ERROR "AQUATINT_CUDA=ON needs the CUDA toolkit, 12.4 or later: no nvcc was found")
  endif()
  set(CMAKE_CUDA_COMPILER ${AQUATINT_NVCC})
endif()
find_program(AQUATINT_CCACHE ccache)
if(AQUATINT_CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${AQUATINT_CCACHE})
endif()
enable_language(CUDA)
find_package(CUDAToolkit 12.4 REQUIRED)

file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/*.cu)
add_library(aquatint_cuda MODULE ${cuda_sources})
set_target_properties(aquatint_cuda PROPERTIES
  CUDA_STANDARD_REQUIRED OFF CUDA_VISIBILITY_PRESET default
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_include_directories(aquatint_cuda PRIVATE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(aquatint_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20 -Xcompiler=-Wall,-Wextra,-Wshadow -lineinfo
  $<$<BOOL:${AQUATINT_WERROR}>:-Werror=all-warnings -Xcompiler=-Werror>>)
target_link_libraries(aquatint_cuda PRIVATE CUDA::cudart_static CUDA::cublasLt)
