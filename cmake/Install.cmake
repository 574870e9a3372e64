# cmake --install BUILD --prefix DIR: DIR/bin/dtrain and what it looks for at DIR/share/dtrain. LibTorch, CUDA and NCCL
# stay where they are, and the program remembers where that is.
set(_library_folders "")
foreach(_library LibTorch::cpu LibTorch::cudart NCCL::nccl)
  if(TARGET ${_library})
    get_target_property(_location ${_library} IMPORTED_LOCATION)
    get_filename_component(_folder ${_location} DIRECTORY)
    list(APPEND _library_folders ${_folder})
  endif()
endforeach()
# The link path alone would leave out what lies in the source folder, as .venv does.
set_target_properties(dtrain PROPERTIES INSTALL_RPATH "${_library_folders}" INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS dtrain RUNTIME DESTINATION bin)
install(CODE "
  if(NOT EXISTS \"${DTRAIN_SHARE_DIR}/tasks/wordnet/train.tsv\")
    message(FATAL_ERROR \"The embedded model and task are not at ${DTRAIN_SHARE_DIR}. Run scripts/setup.sh first.\")
  endif()")
install(DIRECTORY ${DTRAIN_SHARE_DIR}/ DESTINATION share/dtrain)
