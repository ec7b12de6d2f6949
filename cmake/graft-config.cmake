# find_package(graft): the imported target graft::graft.
# Serves two layouts: `cmake --install` (<prefix>/include, <prefix>/lib…/cmake/graft) and the
# unpacked platform jar (<platform>/libgraft.so.1, <platform>/include, <platform>/lib/cmake/graft).
find_library(graft_library NAMES libgraft.so.1 NO_CACHE NO_DEFAULT_PATH
  PATHS ${CMAKE_CURRENT_LIST_DIR}/../.. ${CMAKE_CURRENT_LIST_DIR}/../../..)
find_path(graft_include graft/graft.h NO_CACHE NO_DEFAULT_PATH
  PATHS ${CMAKE_CURRENT_LIST_DIR}/../../../include ${CMAKE_CURRENT_LIST_DIR}/../../../../include)
if(NOT graft_library OR NOT graft_include)
  set(graft_FOUND FALSE)
  set(graft_NOT_FOUND_MESSAGE
    "libgraft.so.1 or graft/graft.h is not where ${CMAKE_CURRENT_LIST_FILE} expects it")
  return()
endif()
if(NOT TARGET graft::graft)
  add_library(graft::graft SHARED IMPORTED)
  set_target_properties(graft::graft PROPERTIES IMPORTED_LOCATION "${graft_library}"
    IMPORTED_SONAME libgraft.so.1 INTERFACE_INCLUDE_DIRECTORIES "${graft_include}")
endif()
