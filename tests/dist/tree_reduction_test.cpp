#include "dist/tree_reduction.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/error.h"
#include "dist/mpi/mpi_communicator.h"

namespace dtrain::dist {
namespace {

constexpr std::int64_t kLength = 1003;

// The gradient of one virtual rank, of magnitudes so unlike that every order of addition rounds in its own way.
template <class Scalar>
std::vector<Scalar> gradient_of(int virtual_rank) {
  std::mt19937_64 random(1000 + virtual_rank);
  std::normal_distribution<double> normal;
  std::vector<Scalar> values(kLength);
  for (Scalar& value : values) value = static_cast<Scalar>(normal(random) * std::exp2(static_cast<int>(random() % 20)));
  return values;
}

// The tree of the header's comment, level by level, one after the other.
template <class Scalar>
std::vector<Scalar> tree_sum(int virtual_ranks) {
  std::vector<std::vector<Scalar>> level;
  for (int v = 0; v < virtual_ranks; ++v) level.push_back(gradient_of<Scalar>(v));
  while (level.size() > 1) {
    std::vector<std::vector<Scalar>> next;
    for (std::size_t i = 0; i + 1 < level.size(); i += 2) {
      for (std::int64_t k = 0; k < kLength; ++k) level[i][k] += level[i + 1][k];
      next.push_back(level[i]);
    }
    if (level.size() % 2 == 1) next.push_back(level.back());
    level = next;
  }
  return level[0];
}

template <class Scalar>
std::vector<Scalar> sum_in_order(int virtual_ranks) {
  std::vector<Scalar> sum(kLength, 0);
  for (int v = 0; v < virtual_ranks; ++v) {
    const auto gradient = gradient_of<Scalar>(v);
    for (std::int64_t k = 0; k < kLength; ++k) sum[k] += gradient[k];
  }
  return sum;
}

template <class Scalar>
void expect_bytes_of_the_serial_tree(int virtual_ranks) {
  SCOPED_TRACE(virtual_ranks);
  const auto communicator = make_mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(60));
  ASSERT_EQ(virtual_ranks % communicator->size(), 0);
  const int per_rank = virtual_ranks / communicator->size();
  const at::Tensor shards = at::empty({per_rank, kLength}, c10::CppTypeToScalarType<Scalar>::value);
  for (int i = 0; i < per_rank; ++i) {
    const auto gradient = gradient_of<Scalar>(communicator->rank() * per_rank + i);
    std::memcpy(shards[i].data_ptr(), gradient.data(), kLength * sizeof(Scalar));
  }
  tree_reduce(*communicator, shards);
  const auto expected = tree_sum<Scalar>(virtual_ranks);
  EXPECT_EQ(std::memcmp(shards[0].data_ptr(), expected.data(), kLength * sizeof(Scalar)), 0);
  if (virtual_ranks > 3) {
    EXPECT_NE(sum_in_order<Scalar>(virtual_ranks), expected) << "inputs in which the order does not matter";
  }
}

// The expectation never mentions the number of ranks: with the program run on 1, 2 and 4, equal bytes for all follow.
TEST(TreeReduce, GivesTheBytesOfTheSerialTreeForAnyNumberOfRanks) {
  for (const int virtual_ranks : {4, 8, 12, 16, 20, 28}) {
    expect_bytes_of_the_serial_tree<float>(virtual_ranks);
    expect_bytes_of_the_serial_tree<double>(virtual_ranks);
  }
}

TEST(TreeReduce, TakesAnOddNumberOfVirtualRanks) {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  for (const int per_rank : {1, 3, 5, 7}) expect_bytes_of_the_serial_tree<float>(per_rank * size);
}

TEST(TreeReduce, RefusesShardsOfAnotherShape) {
  const auto communicator = make_mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(60));
  EXPECT_THROW(tree_reduce(*communicator, at::zeros({4})), CommunicationError);
  EXPECT_THROW(tree_reduce(*communicator, at::zeros({4, 2}).t()), CommunicationError);
}

}  // namespace
}  // namespace dtrain::dist
