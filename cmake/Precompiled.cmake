# LibTorch's headers take longer to read than most files take to compile. They are read once, with the few others that
# most files include. Files still include what they use: builds without this (the preset cpu) check it.
if(DTRAIN_PRECOMPILE)
  add_library(dtrain_precompiled OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cpp)
  target_link_libraries(dtrain_precompiled PRIVATE
    LibTorch::cpu nlohmann_json::nlohmann_json fmt::fmt Threads::Threads)
  target_precompile_headers(dtrain_precompiled PRIVATE <ATen/ATen.h> <algorithm> <filesystem> <fmt/format.h>
    <fmt/ranges.h> <functional> <map> <memory> <nlohmann/json.hpp> <string> <vector>)
endif()

# For targets that link LibTorch.
function(dtrain_precompile target)
  if(DTRAIN_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM dtrain_precompiled)
  endif()
endfunction()
