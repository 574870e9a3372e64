# Finds LibTorch in the `torch` wheel (or any LibTorch folder), and the CUDA and NCCL headers and libraries in the
# wheels beside it. The wheel's own package file needs a CUDA toolkit and probes for a GPU; this one needs neither.
#
# In:  LIBTORCH_ROOT, the folder with include/ and lib/ (default: the torch package of DTRAIN_PYTHON's environment).
# Out: LibTorch::cpu; in builds with DTRAIN_CUDA also LibTorch::cuda and NCCL::nccl.

if(NOT LIBTORCH_ROOT)
  file(GLOB _torch_roots ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  list(GET _torch_roots 0 _torch_root)
  set(LIBTORCH_ROOT ${_torch_root} CACHE PATH "LibTorch: the folder that holds include/ and lib/")
endif()
if(NOT EXISTS ${LIBTORCH_ROOT}/include/ATen/ATen.h)
  message(FATAL_ERROR "LibTorch not found at '${LIBTORCH_ROOT}'. Run scripts/run.sh once, or pass -DLIBTORCH_ROOT=DIR.")
endif()
get_filename_component(_site_packages ${LIBTORCH_ROOT} DIRECTORY)
file(STRINGS ${LIBTORCH_ROOT}/include/torch/headeronly/version.h _major REGEX "define TORCH_VERSION_MAJOR")
file(STRINGS ${LIBTORCH_ROOT}/include/torch/headeronly/version.h _minor REGEX "define TORCH_VERSION_MINOR")
string(REGEX MATCH "[0-9]+" _major "${_major}")
string(REGEX MATCH "[0-9]+" _minor "${_minor}")
if("${_major}.${_minor}" VERSION_LESS 2.10)
  message(FATAL_ERROR "LibTorch ${_major}.${_minor} at ${LIBTORCH_ROOT}: 2.10 or newer is needed (precision API).")
endif()

file(GLOB _nvidia_libs ${_site_packages}/nvidia/*/lib ${_site_packages}/nvidia/lib)
set(_link_options "")
foreach(_lib ${_nvidia_libs})
  list(APPEND _link_options "LINKER:-rpath-link,${_lib}")
endforeach()

function(_libtorch_library target file)
  add_library(${target} SHARED IMPORTED)
  set_target_properties(${target} PROPERTIES IMPORTED_LOCATION ${file})
endfunction()

_libtorch_library(LibTorch::c10 ${LIBTORCH_ROOT}/lib/libc10.so)
_libtorch_library(LibTorch::cpu ${LIBTORCH_ROOT}/lib/libtorch_cpu.so)
target_include_directories(LibTorch::cpu SYSTEM INTERFACE ${LIBTORCH_ROOT}/include)
target_link_libraries(LibTorch::cpu INTERFACE LibTorch::c10)
# at::parallel_for is a template: without OpenMP where it is compiled it runs on one thread. LibTorch's own libgomp, so that
# the program has one pool of threads. Clang (the fuzzers) calls another: there they run on one thread.
file(GLOB _gomp ${LIBTORCH_ROOT}/lib/libgomp*.so*)
if(NOT _gomp)
  message(FATAL_ERROR "LibTorch at ${LIBTORCH_ROOT} comes without libgomp; one that is built with OpenMP is needed.")
endif()
list(GET _gomp 0 _gomp)
target_compile_options(LibTorch::cpu INTERFACE $<$<CXX_COMPILER_ID:GNU>:-fopenmp>)
target_link_libraries(LibTorch::cpu INTERFACE ${_gomp})
target_link_options(LibTorch::cpu INTERFACE ${_link_options})

if(DTRAIN_CUDA)
  file(GLOB _cuda_include ${_site_packages}/nvidia/cu13/include)
  file(GLOB _nccl_library ${_site_packages}/nvidia/nccl/lib/libnccl.so.2)
  if(NOT EXISTS ${LIBTORCH_ROOT}/lib/libtorch_cuda.so OR NOT _cuda_include OR NOT _nccl_library)
    message(FATAL_ERROR "LibTorch at ${LIBTORCH_ROOT} comes without CUDA or NCCL. Pass -DDTRAIN_CUDA=OFF.")
  endif()
  _libtorch_library(LibTorch::c10_cuda ${LIBTORCH_ROOT}/lib/libc10_cuda.so)
  _libtorch_library(LibTorch::torch_cuda ${LIBTORCH_ROOT}/lib/libtorch_cuda.so)
  file(GLOB _cudart ${_site_packages}/nvidia/cu13/lib/libcudart.so.13)
  _libtorch_library(LibTorch::cudart ${_cudart})
  add_library(LibTorch::cuda INTERFACE IMPORTED)
  # Nothing in dtrain names a symbol of libtorch_cuda: its kernels register themselves when it is loaded.
  target_link_libraries(LibTorch::cuda INTERFACE LibTorch::cpu LibTorch::c10_cuda LibTorch::cudart
    -Wl,--no-as-needed LibTorch::torch_cuda -Wl,--as-needed)
  target_include_directories(LibTorch::cuda SYSTEM INTERFACE ${_cuda_include})
  _libtorch_library(NCCL::nccl ${_nccl_library})
  target_include_directories(NCCL::nccl SYSTEM INTERFACE ${_site_packages}/nvidia/nccl/include ${_cuda_include})
endif()
set(LibTorch_FOUND TRUE)
