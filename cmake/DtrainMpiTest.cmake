include_guard(DIRECTORY)
find_package(GTest REQUIRED)

# Ranks as CTest starts them: as root (containers) and more than there are cores, one thread each.
set(DTRAIN_MPI_TEST_ENVIRONMENT
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
  OMPI_MCA_hwloc_base_binding_policy=none OMP_NUM_THREADS=1)

# dtrain_mpi_test(NAME ROOM room SOURCES file... RANKS n... [ARGUMENTS arg...] [LIBRARIES target...] [TIMEOUT s])
#
# One GoogleTest program NAME with an MPI main (tests/dist/mpi_main.cpp), and a CTest entry NAME_n for each number of
# ranks. A program that returns 77 did not run, and CTest says so ("Skipped").
function(dtrain_mpi_test name)
  cmake_parse_arguments(TEST "" "ROOM;TIMEOUT" "SOURCES;RANKS;ARGUMENTS;LIBRARIES" ${ARGN})
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 300)
  endif()
  add_executable(${name} ${TEST_SOURCES} ${CMAKE_SOURCE_DIR}/tests/dist/mpi_main.cpp)
  target_link_libraries(${name} PRIVATE dtrain_${TEST_ROOM} ${TEST_LIBRARIES} GTest::gtest GTest::gmock MPI::MPI_C)
  target_compile_definitions(${name} PRIVATE
    OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX DTRAIN_SHARE_DIR="${DTRAIN_SHARE_DIR}")
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  dtrain_compile_options(${name})
  dtrain_precompile(${name})
  foreach(ranks ${TEST_RANKS})
    add_test(NAME ${name}_${ranks} COMMAND ${MPIEXEC_EXECUTABLE} -np ${ranks} $<TARGET_FILE:${name}> ${TEST_ARGUMENTS})
    set_tests_properties(${name}_${ranks} PROPERTIES PROCESSORS ${ranks} TIMEOUT ${TEST_TIMEOUT} LABELS ${TEST_ROOM}
      ENVIRONMENT "${DTRAIN_MPI_TEST_ENVIRONMENT}" SKIP_RETURN_CODE 77)
  endforeach()
endfunction()
