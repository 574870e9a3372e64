#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dtrain::model {

/// Long sums of CPU tensors, in double and in an order that depends neither on the number of threads nor on what else
/// is summed: the same bits with any number of threads. LibTorch keeps one float for some of them: its norm of 110
/// million gradients is off by a hundredth.

/// Euclidean norm of a contiguous tensor.
double euclidean_norm(const at::Tensor& values);

/// Of the elements of a contiguous tensor.
double sum_of_squares(const at::Tensor& values);
/// Of some rows of a contiguous table [any, columns].
double sum_of_squares_of_rows(const at::Tensor& table, const std::vector<std::int64_t>& rows);

/// sums[c] = sum over r of rows[r][c], or is increased by it, for rows [n, columns] of double, float or bfloat16 and
/// sums [columns] of double where rows are, else of float.
void sum_rows(const at::Tensor& rows, bool adds, const at::Tensor& sums);

/// table[index[i]] += rows[i] for index [n] (int64), rows [n, columns] and table [any, columns], contiguous. Returns
/// what index holds, ascending, each once.
std::vector<std::int64_t> add_rows_at(const at::Tensor& index, const at::Tensor& rows, const at::Tensor& table);

}  // namespace dtrain::model
