#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace dtrain::dist {

/// Throws CommunicationError unless `tensor` is contiguous, of a type that every back end carries, and on `device`.
/// `collective` and `backend` go into the message.
void check_tensor(const at::Tensor& tensor, at::Device device, std::string_view collective, std::string_view backend);

/// As check_tensor, and `tensor` has at least one dimension.
void check_rows(const at::Tensor& rows, at::Device device, std::string_view collective, std::string_view backend);

/// As check_rows, and the number of rows is a multiple of `size`.
void check_divisible_rows(const at::Tensor& rows, int size, at::Device device, std::string_view collective,
                          std::string_view backend);

/// Throws CommunicationError unless `rank` is another one of `size` ranks than `self`.
void check_peer(int rank, int self, int size, std::string_view collective);

/// Throws CommunicationError unless `root` is one of `size` ranks.
void check_root(int root, int size, std::string_view collective);

/// Throws CommunicationError for a negative colour.
void check_colour(int colour);

/// Type and shape of a tensor as a host tensor int64 [1, 11], for the ranks to exchange before a ragged gather.
at::Tensor describe_rows(const at::Tensor& rows);

/// From the descriptions of all ranks, [size, 11]: the number of rows of each. Throws CommunicationError, alike on
/// every rank, where a rank's type or trailing shape is not that of rank 0.
std::vector<std::int64_t> agreed_row_counts(const at::Tensor& descriptions);

}  // namespace dtrain::dist
