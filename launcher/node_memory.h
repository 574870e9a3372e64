#pragma once

#include <cstdint>
#include <filesystem>

namespace dtrain::launcher {

/// Bytes of memory that this process and the others of its job may have on this node: what the machine has, or the
/// smallest limit of the process's control groups (cgroups 2 and 1: a container's, a SLURM job's). `root`: where /proc
/// and /sys are.
std::int64_t node_memory(const std::filesystem::path& root = "/");

}  // namespace dtrain::launcher
