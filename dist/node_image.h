#pragma once

#include <chrono>
#include <functional>

#include "base/image.h"
#include "dist/communicator.h"

namespace dtrain::dist {

/// What one rank of a node has for all of it.
struct NodeReading {
  /// Reads it, on that rank alone.
  std::function<void()> read;
  /// What was read, as an image, on that rank.
  std::function<void(ImageWriter&)> describe;
  /// Takes it from there, on every rank of the node, also the one that read, so that it is in memory once.
  std::function<void(ImageReader&)> take;
};

/// Collective over `control`, where a rank waits `patience` longer than its timeout. `node`: the lowest rank on this
/// rank's node, which reads. Where `read` throws an Error on some node, every rank throws that of the lowest. On a rank
/// that is alone on its node nothing is described or taken.
void share_on_node(Communicator& control, int node, std::chrono::milliseconds patience, const NodeReading& reading);

}  // namespace dtrain::dist
