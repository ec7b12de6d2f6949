# Runs nvcc and keeps what ptxas says of registers and spills (-Xptxas -v) in a file, where
# scripts/cuda-resources.py reads it; all else goes where it always went.
#
#   cmake -DLOG=<file> -DVERSION=<of nvcc> -P Nvcc.cmake -- nvcc …
set(command)
set(behind FALSE)
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
  if(behind)
    list(APPEND command "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} STREQUAL "--")
    set(behind TRUE)
  endif()
endforeach()
execute_process(COMMAND ${command} RESULT_VARIABLE status ERROR_VARIABLE text)

set(usual "Compiling entry function|Function properties|Used [0-9]+|[0-9]+ bytes gmem|Compile time")
string(REGEX REPLACE "ptxas info +: (${usual})[^\n]*\n" "" rest "${text}")
string(REGEX REPLACE " +[0-9]+ bytes stack frame[^\n]*\n" "" rest "${rest}")
if(NOT rest STREQUAL "")
  message(NOTICE "${rest}")
endif()
if(NOT status EQUAL 0)
  file(REMOVE "${LOG}")
  message(FATAL_ERROR "nvcc failed (${status})")
endif()
file(WRITE "${LOG}" "nvcc ${VERSION}\n${text}")
