#include "model/sums.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "model/kernels/stored_type.h"

namespace dtrain::model {
namespace {

// Elements that are summed by themselves before their sums are added, one after the other.
constexpr std::int64_t kChunk = 1 << 16;
// Columns that are summed together: neighbours share cache lines.
constexpr std::int64_t kColumns = 64;
// Elements that are worth a thread.
constexpr std::int64_t kGrain = 1 << 15;

std::int64_t blocks_of(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

std::int64_t grain_of(std::int64_t elements_of_item) {
  return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, elements_of_item));
}

}  // namespace

double euclidean_norm(const at::Tensor& values) { return std::sqrt(sum_of_squares(values)); }

double sum_of_squares(const at::Tensor& values) {
  const std::int64_t count = values.numel();
  const std::int64_t chunks = blocks_of(count, kChunk);
  std::vector<double> sums(static_cast<std::size_t>(chunks));
  kernels::for_stored_type(values, [&]<typename Real, typename Stored>() {
    const Real* data = values.const_data_ptr<Real>();
    at::parallel_for(0, chunks, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t chunk = first; chunk < last; ++chunk) {
        const std::int64_t begin = chunk * kChunk;
        sums[static_cast<std::size_t>(chunk)] =
            kernels::loops<Real>().sum_of_squares(data + begin, std::min(kChunk, count - begin));
      }
    });
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

double sum_of_squares_of_rows(const at::Tensor& table, const std::vector<std::int64_t>& rows) {
  const std::int64_t columns = table.size(1);
  std::vector<double> sums(rows.size());
  kernels::for_stored_type(table, [&]<typename Real, typename Stored>() {
    const Real* data = table.const_data_ptr<Real>();
    at::parallel_for(0, static_cast<std::int64_t>(rows.size()), grain_of(columns),
                     [&](std::int64_t first, std::int64_t last) {
                       for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i) {
                         sums[i] = kernels::loops<Real>().sum_of_squares(data + rows[i] * columns, columns);
                       }
                     });
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

void sum_rows(const at::Tensor& rows, bool adds, const at::Tensor& sums) {
  const auto plain = rows.contiguous();
  const std::int64_t columns = plain.size(1);
  kernels::for_stored_type(plain, [&]<typename Real, typename Stored>() {
    const kernels::RowSum<Real, Stored> sum{.rows = kernels::stored_data<Stored>(plain),
                                            .columns = columns,
                                            .places = nullptr,
                                            .count = plain.size(0),
                                            .adds = adds,
                                            .sums = sums.mutable_data_ptr<Real>()};
    at::parallel_for(
        0, blocks_of(columns, kColumns), grain_of(kColumns * sum.count), [&](std::int64_t first, std::int64_t last) {
          kernels::loops<Real, Stored>().sum_rows(sum, first * kColumns, std::min(last * kColumns, columns));
        });
  });
}

std::vector<std::int64_t> add_rows_at(const at::Tensor& index, const at::Tensor& rows, const at::Tensor& table) {
  const auto plain = rows.contiguous();
  const auto plain_index = index.contiguous();
  const auto* targets = plain_index.const_data_ptr<std::int64_t>();
  const std::int64_t count = plain.size(0);
  const std::int64_t columns = plain.size(1);
  // The rows of each target side by side, in their order (counting sort).
  std::vector<std::int64_t> ends(static_cast<std::size_t>(table.size(0)), 0);
  for (std::int64_t i = 0; i < count; ++i) ++ends[static_cast<std::size_t>(targets[i])];
  std::vector<std::int64_t> reached;
  for (std::size_t target = 0; target < ends.size(); ++target) {
    if (ends[target] > 0) reached.push_back(static_cast<std::int64_t>(target));
  }
  std::exclusive_scan(ends.begin(), ends.end(), ends.begin(), std::int64_t{0});
  std::vector<std::int64_t> places(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    places[static_cast<std::size_t>(ends[static_cast<std::size_t>(targets[i])]++)] = i;
  }

  // Where a few rows take all, their columns are shared out; where many do, whole rows.
  const std::int64_t width = reached.size() < 64 ? kColumns : columns;
  const std::int64_t blocks = blocks_of(columns, width);
  const auto items = static_cast<std::int64_t>(reached.size()) * blocks;
  kernels::for_stored_type(plain, [&]<typename Real, typename Stored>() {
    Real* data = table.mutable_data_ptr<Real>();
    at::parallel_for(0, items, grain_of(count * columns / std::max<std::int64_t>(1, items)),
                     [&](std::int64_t first, std::int64_t last) {
                       for (std::int64_t item = first; item < last; ++item) {
                         const auto place = static_cast<std::size_t>(item / blocks);
                         const auto target = static_cast<std::size_t>(reached[place]);
                         const std::int64_t begin = place == 0 ? 0 : ends[static_cast<std::size_t>(reached[place - 1])];
                         const kernels::RowSum<Real, Stored> sum{.rows = kernels::stored_data<Stored>(plain),
                                                                 .columns = columns,
                                                                 .places = places.data() + begin,
                                                                 .count = ends[target] - begin,
                                                                 .adds = true,
                                                                 .sums = data + reached[place] * columns};
                         const std::int64_t column = item % blocks * width;
                         kernels::loops<Real, Stored>().sum_rows(sum, column, std::min(column + width, columns));
                       }
                     });
  });
  return reached;
}

}  // namespace dtrain::model
