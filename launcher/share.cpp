#include "launcher/share.h"

#include <ATen/Version.h>
#include <fmt/format.h>
#include <mpi.h>
#include <torch/headeronly/version.h>

#include <array>
#include <boost/version.hpp>
#include <cstdlib>
#include <system_error>

#include "dist/nccl/nccl_communicator.h"
#include "model/kernels/loops.h"

namespace dtrain::launcher {

std::filesystem::path find_share_directory() {
  if (const char* named = std::getenv("DTRAIN_SHARE")) return named;
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const std::array candidates = {program / "share" / "dtrain", program.parent_path() / "share" / "dtrain"};
  for (const auto& candidate : candidates) {
    if (std::filesystem::is_directory(candidate, error)) return candidate;
  }
  return candidates[0];
}

std::string version_text() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> mpi{};
  int length = 0;
  MPI_Get_library_version(mpi.data(), &length);
  const std::string mpi_text(mpi.data(), static_cast<std::size_t>(length));
  return fmt::format("dtrain {}\nback ends: single, mpi{}\nLibTorch {}, CPU kernels {}\n{}{}\nBoost {}.{}.{}\n",
                     DTRAIN_VERSION, dist::nccl_is_compiled_in() ? ", nccl" : "", TORCH_VERSION,
                     model::kernels::instruction_sets().back().name, mpi_text.substr(0, mpi_text.find(',')),
                     dist::nccl_is_compiled_in() ? "\nNCCL " + dist::nccl_version() : "", BOOST_VERSION / 100000,
                     BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100);
}

}  // namespace dtrain::launcher
