#include "dist/node_image.h"

#include <cstddef>
#include <span>

#include "dist/first_rank.h"
#include "dist/node_bytes.h"

namespace dtrain::dist {

void share_on_node(Communicator& control, int node, std::chrono::milliseconds patience, const NodeReading& reading) {
  {
    const TimeoutScope scope(control, control.timeout() + patience);
    on_ranks(control, control.rank() == node, reading.read);
  }
  if (control.size() == 1) return;
  const auto ranks = control.split(node);
  if (ranks->size() == 1) return;
  ImageWriter image;
  if (ranks->rank() == 0) reading.describe(image);
  const auto shared = share_bytes(*ranks, image.size(), [&](std::span<std::byte> bytes) { image.write(bytes); });
  ImageReader reader(shared.bytes, shared.keeper);
  reading.take(reader);
}

}  // namespace dtrain::dist
