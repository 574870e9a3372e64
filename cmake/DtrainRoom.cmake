# dtrain_room(NAME SOURCES file... [ROOMS room...] [LIBRARIES target...])
#
# A room is a static library dtrain_NAME. Its headers are reached as "NAME/header.h" through a folder in the build tree
# that holds one link to the room, so that a room sees the rooms it links and no other: a forbidden include does not
# build.
function(dtrain_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;ROOMS;LIBRARIES" ${ARGN})
  set(include_dir ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${include_dir})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${include_dir}/${name} SYMBOLIC)
  add_library(dtrain_${name} STATIC ${ROOM_SOURCES})
  target_include_directories(dtrain_${name} PUBLIC ${include_dir})
  list(TRANSFORM ROOM_ROOMS PREPEND dtrain_)
  target_link_libraries(dtrain_${name} PUBLIC ${ROOM_ROOMS} ${ROOM_LIBRARIES})
  dtrain_compile_options(dtrain_${name})
  if(name MATCHES "^(base|data)$")  # without LibTorch, whose templates make files compiled at once pay
    set_target_properties(dtrain_${name} PROPERTIES UNITY_BUILD OFF)
  else()
    dtrain_precompile(dtrain_${name})
  endif()
endfunction()

function(dtrain_compile_options target)
  # GCC 12 reports -Wrestrict falsely for std::string (its bug 105651).
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-restrict)
  if(DTRAIN_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
