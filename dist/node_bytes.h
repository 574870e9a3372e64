#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "dist/communicator.h"

namespace dtrain::dist {

/// Bytes that the ranks of a node have together. A page that a rank writes to becomes its own copy; the others keep
/// what was there.
struct NodeBytes {
  std::span<std::byte> bytes;
  std::shared_ptr<const void> keeper;  // the bytes live as long
};

/// What `write` fills on rank 0 of `node`, whose `size` (at least 1) counts there alone: the same pages of memory for
/// all ranks, at addresses of their own that are multiples of 64. Collective over `node`, whose ranks are on one
/// machine. Memory without a name (memfd_create): nothing stays behind a job that is killed, no folder must be
/// writable, and no limit of /dev/shm holds it. Where a rank cannot reach that of rank 0 (a container of its own), the
/// bytes are sent instead, and each rank has its own.
NodeBytes share_bytes(Communicator& node, std::size_t size, const std::function<void(std::span<std::byte>)>& write);

}  // namespace dtrain::dist
