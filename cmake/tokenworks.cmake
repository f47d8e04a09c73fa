# With TW_PCH: what most files include in the end and what takes longest to parse. Two are made, one for libraries and
# programs and one, with GoogleTest, for tests: by the first target that asks; the others use its file.
function(tw_precompile target kind)
  if(NOT TW_PCH)
    return()
  endif()
  get_property(owner GLOBAL PROPERTY TW_PCH_${kind})
  if(owner)
    target_precompile_headers(${target} REUSE_FROM ${owner})
    return()
  endif()
  set_property(GLOBAL PROPERTY TW_PCH_${kind} ${target})
  target_precompile_headers(${target} PRIVATE <functional> <map> <memory> <optional> <string> <vector>
                            ${CMAKE_SOURCE_DIR}/src/base/json.h ${ARGN})
endfunction()

# tw_folder(NAME [DEPS other folders or libraries...])
# Makes the static library tw_NAME from every .cc in this folder, and the test program NAME_test from
# every _test.cc. A test suite whose name starts with "Slow" gets the ctest label "slow". Every *_fuzz.cc
# becomes a libFuzzer program of its own when TW_FUZZ is on.
function(tw_folder name)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  set(fuzzers ${sources})
  list(FILTER sources EXCLUDE REGEX "(_test|_fuzz)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  add_library(tw_${name} STATIC ${sources})
  set_target_properties(tw_${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_include_directories(tw_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(tw_${name} PUBLIC ${ARG_DEPS})
  tw_precompile(tw_${name} LIBRARY)
  if(TW_TESTS AND tests)
    tw_test(${name}_test SOURCES ${tests} DEPS tw_${name})
  endif()
  if(TW_FUZZ)
    foreach(source ${fuzzers})
      get_filename_component(program ${source} NAME_WE)
      add_executable(${program} ${source})
      target_compile_definitions(${program} PRIVATE TW_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
      target_link_libraries(${program} PRIVATE tw_${name})
      target_link_options(${program} PRIVATE -fsanitize=fuzzer)
      tw_precompile(${program} LIBRARY)
    endforeach()
  endif()
endfunction()

# tw_test(NAME SOURCES files... DEPS libraries...): one GoogleTest program; each case is one ctest entry.
# Tests find the repository by the macro TW_SOURCE_DIR.
function(tw_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_compile_definitions(${name} PRIVATE TW_SOURCE_DIR="${CMAKE_SOURCE_DIR}" TW_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  tw_precompile(${name} TEST <gtest/gtest.h>)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX ${name}. TEST_FILTER "-Slow*.*"
                       TEST_LIST ${name}_fast PROPERTIES TIMEOUT 300)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX ${name}. TEST_FILTER "Slow*.*"
                       TEST_LIST ${name}_slow PROPERTIES LABELS slow TIMEOUT 1200)
endfunction()
