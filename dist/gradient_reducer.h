#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "dist/communicator.h"
#include "dist/shard_layout.h"
#include "dist/wire_format.h"

namespace dtrain::dist {

/// What a rank has of the summed gradients.
enum class ReducedTo {
  every_rank,
  /// Its share of each bucket, and the bucket's rest; the others' shares are of no meaning.
  shares,
};

/// Sums the flat gradients over the ranks, bucket by bucket, each started when the last of its gradients is ready,
/// while backward goes on. As in PyTorch's DistributedDataParallel (Li et al., 2020), without its copies: the gradients
/// are written into the flat buffer to begin with. Those that travel as bfloat16 are copied there and back; what a rank
/// has of the sum is then what every other has, in float. One rank exchanges nothing, and rounds nothing.
class GradientReducer {
 public:
  /// `flat_gradients`: one-dimensional, contiguous. `offsets`: where each parameter begins in it, ascending, then its
  /// length. Every element belongs to one parameter; those that the layout's buckets leave out are somebody else's to
  /// reduce. `overlap` false waits for `finish` to start the buckets. Throws std::logic_error for offsets that are not
  /// so.
  GradientReducer(Communicator& communicator, at::Tensor flat_gradients, std::vector<std::int64_t> offsets,
                  const ShardLayout& layout, ReducedTo reduced_to, bool overlap, WireFormat format = WireFormat::fp32);
  ~GradientReducer();

  /// The gradient of parameter `index` is complete for this step. Each at most once a step (else std::logic_error);
  /// those never ready are reduced by `finish`. Buckets start in one order on every rank, whatever order gradients
  /// arrive in.
  void ready(std::size_t index);

  /// Starts what has not been started, waits for all, and is ready for the next step.
  void finish();

  /// Payload handed to the back end in one step (0 at one rank).
  std::int64_t bytes_per_step() const;

 private:
  struct Message;
  struct Bucket;

  void add_message(Bucket& bucket, const Stretch& stretch, ReducedTo reduced_to, WireFormat format);
  void start_in_order();

  Communicator& communicator_;
  at::Tensor flat_gradients_;
  std::vector<Bucket> buckets_;
  std::vector<std::pair<std::size_t, std::size_t>> buckets_of_;  // by parameter: the first, and behind the last
  std::vector<char> is_ready_;                                   // by parameter
  std::size_t next_ = 0;                                         // the bucket to start next
  bool overlap_;
};

}  // namespace dtrain::dist
