#include "dist/row_reduction.h"

#include <ATen/ATen.h>

namespace dtrain::dist {

ReducedRows all_reduce_rows(Communicator& communicator, const at::Tensor& table, const std::vector<std::int64_t>& rows,
                            WireFormat format) {
  if (communicator.size() == 1) return {rows, 0};
  // How many ranks have each row.
  const auto counts = at::zeros({table.size(0)}, at::kInt);
  auto* count = counts.mutable_data_ptr<std::int32_t>();
  for (const std::int64_t row : rows) count[row] = 1;
  communicator.all_reduce(counts);
  const auto union_index = counts.nonzero().squeeze(1);
  const auto sums = table.index_select(0, union_index).to(wire_type(format, table.scalar_type()));
  communicator.all_reduce(sums);
  at::Tensor(table).index_copy_(0, union_index, sums.to(table.scalar_type()));
  const auto* index = union_index.const_data_ptr<std::int64_t>();
  return {std::vector<std::int64_t>(index, index + union_index.numel()),
          static_cast<std::int64_t>(counts.nbytes() + sums.nbytes())};
}

}  // namespace dtrain::dist
