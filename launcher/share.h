#pragma once

#include <filesystem>
#include <string>

namespace dtrain::launcher {

/// Where the embedded model and task are: DTRAIN_SHARE, share/dtrain beside the program, or ../share/dtrain of it (as
/// installed). The first that exists; else the second.
std::filesystem::path find_share_directory();

/// dtrain's version, the compiled-in back ends and the versions of the libraries.
std::string version_text();

}  // namespace dtrain::launcher
