# Finds nvcc and knows how to build a plugin with it. CMake's own CUDA language is not used: it wants
# a whole toolkit, and nvcc from the PyPI wheels (scripts/install-nvcc.sh) is enough for Graft.
#
# Sets   GRAFT_NVCC             absolute path of nvcc, empty if there is none
#        GRAFT_NVCC_VERSION     13.0.88, say
#        GRAFT_NVCC_FLAGS       language, optimisation, host compiler
#        GRAFT_NVCC_ARCH_FLAGS  -gencode for each of GRAFT_CUDA_ARCHS
#        GRAFT_CUDA_TOOLKIT     the folder with bin, include and lib or lib64
#        GRAFT_CUDA_INCLUDE, GRAFT_CUDART_STATIC
# Defines graft_cuda_plugin(<target> <sources>…)

set(GRAFT_NVCC "")
if(NOT GRAFT_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "GRAFT_CUDA: expected AUTO, ON or OFF, got ${GRAFT_CUDA}")
endif()
if(NOT GRAFT_CUDA STREQUAL "OFF")
  if(NOT "$ENV{CUDACXX}" STREQUAL "")
    find_program(graft_nvcc_found NAMES "$ENV{CUDACXX}" NO_CACHE)
    if(NOT graft_nvcc_found)
      message(FATAL_ERROR "CUDACXX names no program: $ENV{CUDACXX}")
    endif()
  else()
    set(nvcc_places)
    foreach(variable CUDA_PATH CUDA_HOME)
      if(NOT "$ENV{${variable}}" STREQUAL "")
        list(APPEND nvcc_places "$ENV{${variable}}/bin")
      endif()
    endforeach()
    # The order says which of several wins: variables, PATH, the usual place, our own.
    find_program(graft_nvcc_found nvcc HINTS ${nvcc_places}
      PATHS /usr/local/cuda/bin ${PROJECT_SOURCE_DIR}/.cuda/nvidia/cu13/bin NO_CACHE)
  endif()
  if(graft_nvcc_found)
    file(REAL_PATH "${graft_nvcc_found}" GRAFT_NVCC)
  elseif(GRAFT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "GRAFT_CUDA=ON, but there is no nvcc. scripts/install-nvcc.sh installs one.")
  endif()
endif()
if(NOT GRAFT_NVCC)
  message(STATUS "Graft: building without CUDA (no nvcc, or GRAFT_CUDA=OFF; "
    "scripts/install-nvcc.sh installs one)")
  return()
endif()

execute_process(COMMAND ${GRAFT_NVCC} --version OUTPUT_VARIABLE GRAFT_NVCC_VERSION
  COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "V([0-9.]+)" GRAFT_NVCC_VERSION "${GRAFT_NVCC_VERSION}")
set(GRAFT_NVCC_VERSION ${CMAKE_MATCH_1})

cmake_path(GET GRAFT_NVCC PARENT_PATH GRAFT_CUDA_TOOLKIT)
cmake_path(GET GRAFT_CUDA_TOOLKIT PARENT_PATH GRAFT_CUDA_TOOLKIT)
find_path(GRAFT_CUDA_INCLUDE cuda_runtime.h NO_CACHE REQUIRED
  HINTS ${GRAFT_CUDA_TOOLKIT}/include ${GRAFT_CUDA_TOOLKIT}/targets/x86_64-linux/include)
find_library(GRAFT_CUDART_STATIC libcudart_static.a NO_CACHE REQUIRED
  HINTS ${GRAFT_CUDA_TOOLKIT}/lib64 ${GRAFT_CUDA_TOOLKIT}/lib
        ${GRAFT_CUDA_TOOLKIT}/targets/x86_64-linux/lib)

if(GRAFT_CUDA_ARCHS STREQUAL "all")
  set(graft_archs 80 86 89 90a 100 120)
elseif(GRAFT_CUDA_ARCHS STREQUAL "native")
  # Of this machine's cards; on a Hopper with the instructions that it alone has.
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE graft_archs RESULT_VARIABLE status ERROR_QUIET)
  string(REGEX MATCHALL "[0-9]+\\.[0-9]" graft_archs "${graft_archs}")
  if(NOT status EQUAL 0 OR NOT graft_archs)
    message(FATAL_ERROR "GRAFT_CUDA_ARCHS=native, but nvidia-smi shows no card")
  endif()
  list(TRANSFORM graft_archs REPLACE "\\." "")
  list(TRANSFORM graft_archs REPLACE "^90$" "90a")
  list(REMOVE_DUPLICATES graft_archs)
else()
  set(graft_archs ${GRAFT_CUDA_ARCHS})
endif()
set(GRAFT_NVCC_ARCH_FLAGS)
foreach(arch ${graft_archs})
  if(NOT arch MATCHES "^[0-9]+[af]?$")
    message(FATAL_ERROR "GRAFT_CUDA_ARCHS: expected numbers like 80 or 90a, 'all' or 'native', got ${arch}")
  endif()
  list(APPEND GRAFT_NVCC_ARCH_FLAGS -gencode arch=compute_${arch},code=sm_${arch})
endforeach()
if(GRAFT_CUDA_ARCHS STREQUAL "all")
  # PTX for cards to come.
  list(APPEND GRAFT_NVCC_ARCH_FLAGS -gencode arch=compute_120,code=compute_120)
endif()

set(GRAFT_NVCC_FLAGS -std=c++20 -O3 --compiler-bindir ${CMAKE_CXX_COMPILER} --cudart static
  --expt-relaxed-constexpr -lineinfo --compress-mode=size -Xptxas -v
  -Xcompiler=-fPIC,-fvisibility=hidden,-fvisibility-inlines-hidden,-Wall,-Wextra)
list(JOIN graft_archs " " graft_archs_text)
message(STATUS "Graft: building the CUDA plugin with ${GRAFT_NVCC} for ${graft_archs_text}")

# One nvcc call a source, with dependencies, then a shared library with the CUDA runtime inside, so
# that no other runtime in the process can disagree with it.
function(graft_cuda_plugin target)
  set(objects)
  # -MT is relative, for nvcc does not escape blanks in it.
  foreach(source ${ARGN})
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    cmake_path(GET source STEM name)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${target}.dir/${name}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/${target}.dir
      COMMAND ${CMAKE_COMMAND} -DLOG=${object}.ptxas -DVERSION=${GRAFT_NVCC_VERSION}
        -P ${PROJECT_SOURCE_DIR}/cmake/Nvcc.cmake --
        ${GRAFT_NVCC} ${GRAFT_NVCC_FLAGS} ${GRAFT_NVCC_ARCH_FLAGS}
        -I${PROJECT_SOURCE_DIR}/native/include -DGRAFT_BUILD
        -MD -MF ${object}.d -MT ${target}.dir/${name}.o -c ${source} -o ${object}
      DEPENDS ${source} ${GRAFT_NVCC} ${PROJECT_SOURCE_DIR}/cmake/Nvcc.cmake
      BYPRODUCTS ${object}.ptxas
      DEPFILE ${object}.d
      COMMENT "nvcc ${name}.cu"
      VERBATIM COMMAND_EXPAND_LISTS)
    list(APPEND objects ${object})
  endforeach()
  add_library(${target} SHARED ${objects})
  # It uses the libgraft.so.1 that has loaded it, or the one beside it; never a build folder's.
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX SOVERSION 1 VERSION 1
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}
    BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "\$ORIGIN")
  find_package(Threads REQUIRED)
  # --exclude-libs: the runtime's symbols stay inside.
  target_link_libraries(${target} PRIVATE graft ${GRAFT_CUDART_STATIC} Threads::Threads
    ${CMAKE_DL_LIBS} rt -Wl,--exclude-libs,ALL)
endfunction()
