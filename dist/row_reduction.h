#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dist/communicator.h"
#include "dist/wire_format.h"

namespace dtrain::dist {

/// What a reduction of rows did.
struct ReducedRows {
  /// Those of any rank, ascending.
  std::vector<std::int64_t> rows;
  /// Payload handed to the back end.
  std::int64_t bytes = 0;
};

/// Sums a table [n, columns], float or double on the CPU, over the ranks where it is other than zero: `rows`,
/// ascending, are those of this rank. A step's gradient of word embeddings has some hundred such rows of many
/// thousands. The rows travel in `format`; how many ranks have each is counted in whole numbers.
ReducedRows all_reduce_rows(Communicator& communicator, const at::Tensor& table, const std::vector<std::int64_t>& rows,
                            WireFormat format = WireFormat::fp32);

}  // namespace dtrain::dist
