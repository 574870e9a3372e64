#include "dist/tensor_checks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"

namespace dtrain::dist {

namespace {

constexpr std::int64_t kMaxDims = 9;

// A row of descriptions as "Float [*, 3]".
std::string rows_text(const std::int64_t* description) {
  const auto type = static_cast<at::ScalarType>(description[0]);
  const std::int64_t dims = description[1];
  std::string text = fmt::format("{} [*", c10::toString(type));
  for (std::int64_t i = 1; i < dims; ++i) text += fmt::format(", {}", description[2 + i]);
  return text + "]";
}

}  // namespace

void check_tensor(const at::Tensor& tensor, at::Device device, std::string_view collective, std::string_view backend) {
  const auto refuse = [&](const std::string& why) {
    throw CommunicationError(fmt::format("{} over {}: {}", collective, backend, why));
  };
  if (!tensor.defined()) refuse("expected a tensor, found an undefined one");
  if (tensor.device() != device) {
    refuse(fmt::format("expected a tensor on {}, found one on {}; move it there first", device.str(),
                       tensor.device().str()));
  }
  switch (tensor.scalar_type()) {
    case at::kByte:
    case at::kInt:
    case at::kLong:
    case at::kBFloat16:
    case at::kFloat:
    case at::kDouble:
      break;
    default:
      refuse(fmt::format("expected type Float, Double, BFloat16, Long, Int or Byte, found {}; convert it first",
                         c10::toString(tensor.scalar_type())));
  }
  if (!tensor.is_contiguous()) {
    refuse(fmt::format("expected a contiguous tensor, found shape [{}] with strides [{}]; pass tensor.contiguous()",
                       fmt::join(tensor.sizes(), ", "), fmt::join(tensor.strides(), ", ")));
  }
}

void check_rows(const at::Tensor& rows, at::Device device, std::string_view collective, std::string_view backend) {
  check_tensor(rows, device, collective, backend);
  if (rows.dim() < 1 || rows.dim() > kMaxDims) {
    throw CommunicationError(fmt::format("{} over {}: expected rows of 1 to {} dimensions, found {}", collective,
                                         backend, kMaxDims, rows.dim()));
  }
}

void check_divisible_rows(const at::Tensor& rows, int size, at::Device device, std::string_view collective,
                          std::string_view backend) {
  check_rows(rows, device, collective, backend);
  if (rows.size(0) % size != 0) {
    throw CommunicationError(fmt::format("{} over {}: expected a multiple of {} rows, one share a rank, found {}",
                                         collective, backend, size, rows.size(0)));
  }
}

void check_peer(int rank, int self, int size, std::string_view collective) {
  check_root(rank, size, collective);
  if (rank == self)
    throw CommunicationError(fmt::format("{}: expected another rank, found this one, {}", collective, rank));
}

void check_root(int root, int size, std::string_view collective) {
  if (root < 0 || root >= size) {
    throw CommunicationError(fmt::format("{}: expected a rank from 0 to {}, found {}", collective, size - 1, root));
  }
}

void check_colour(int colour) {
  if (colour < 0) throw CommunicationError(fmt::format("split: expected a colour of 0 or more, found {}", colour));
}

at::Tensor describe_rows(const at::Tensor& rows) {
  at::Tensor description = at::zeros({1, 2 + kMaxDims}, at::kLong);
  std::int64_t* fields = description.mutable_data_ptr<std::int64_t>();
  fields[0] = static_cast<std::int64_t>(rows.scalar_type());
  fields[1] = rows.dim();
  std::ranges::copy(rows.sizes(), fields + 2);
  return description;
}

std::vector<std::int64_t> agreed_row_counts(const at::Tensor& descriptions) {
  const std::int64_t* first = descriptions.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> counts;
  for (std::int64_t rank = 0; rank < descriptions.size(0); ++rank) {
    const std::int64_t* other = first + rank * descriptions.size(1);
    if (rows_text(other) != rows_text(first)) {
      throw CommunicationError(fmt::format(
          "all_gather: expected the same type and trailing shape on every rank, found {} on rank {} and {} on rank 0",
          rows_text(other), rank, rows_text(first)));
    }
    counts.push_back(other[2]);
  }
  return counts;
}

}  // namespace dtrain::dist
