#pragma once

#include <ATen/core/Tensor.h>

#include "dist/communicator.h"

namespace dtrain::dist {

/// Sums `shards`, this rank's gradients [shards of this rank, n] of virtual ranks, over all ranks, in one binary tree
/// over the virtual ranks 0..V-1 (level by level: 0+1, 2+3, ...; then (0+1)+(2+3), ...; an odd one passes up), where
/// virtual rank v lives on rank v / (V / size). V must be a multiple of the number of ranks. The result, the same bytes
/// on every rank for every number of ranks, is left in shards[0].
void tree_reduce(Communicator& communicator, const at::Tensor& shards);

}  // namespace dtrain::dist
