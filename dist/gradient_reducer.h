#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "dist/communicator.h"

namespace dtrain::dist {

/// Sums the flat gradients over the ranks, in buckets, each started when the last of its gradients is ready, while
/// backward goes on. As in PyTorch's DistributedDataParallel (Li et al., 2020), without its copies: the gradients are
/// written into the flat buffer to begin with.
class GradientReducer {
 public:
  /// `flat_gradients`: one-dimensional, contiguous. `offsets`: where each parameter begins in it, ascending, then its
  /// length. Every element belongs to one parameter. `bucket_bytes`: a bucket closes once it holds as many.
  /// `overlap` false waits for `finish` to start the buckets. `left_out`: parameters that somebody else reduces,
  /// ascending. Throws std::logic_error for offsets that are not so.
  GradientReducer(Communicator& communicator, at::Tensor flat_gradients, std::vector<std::int64_t> offsets,
                  std::int64_t bucket_bytes, bool overlap, const std::vector<std::size_t>& left_out = {});
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
  struct Bucket;

  void start_in_order();

  Communicator& communicator_;
  at::Tensor flat_gradients_;
  std::vector<std::size_t> bucket_of_;  // by parameter; one behind the last for what is left out
  std::vector<Bucket> buckets_;
  std::size_t next_ = 0;  // the bucket to start next
  bool overlap_;
};

}  // namespace dtrain::dist
