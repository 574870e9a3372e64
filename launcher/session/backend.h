#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "dist/communicator.h"

namespace dtrain::launcher {

/// The back end that reduces gradients: as asked, or the one that serves the device. Throws UsageError where the one
/// asked for does not serve it, or not so many ranks.
std::string choose_backend(const std::string& asked, int ranks, bool is_cuda);

/// Over all ranks. Collective.
std::unique_ptr<dist::Communicator> make_backend(const std::string& name, dist::Communicator& control,
                                                 std::chrono::milliseconds timeout);

}  // namespace dtrain::launcher
