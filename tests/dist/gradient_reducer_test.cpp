#include "dist/gradient_reducer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <stdexcept>

#include "dist/mpi/mpi_communicator.h"
#include "dist/row_reduction.h"

namespace {
std::int64_t bytes_given_to_mpi = 0;
std::int64_t calls_of_mpi = 0;
}  // namespace

// MPI's profiling interface: the library calls this one, so what is counted is what MPI itself was handed.
extern "C" int MPI_Iallreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op op,
                              MPI_Comm communicator, MPI_Request* request) {
  int size = 0;
  MPI_Type_size(type, &size);
  bytes_given_to_mpi += std::int64_t{count} * size;
  ++calls_of_mpi;
  return PMPI_Iallreduce(send, receive, count, type, op, communicator, request);
}

namespace dtrain::dist {
namespace {

const std::vector<std::int64_t> kOffsets{0, 10, 11, 11, 300, 301, 1000, 1064, 5000};
constexpr std::size_t kParameters = 8;
constexpr std::int64_t kElements = 5000;

class GradientReducerOverMpi : public testing::Test {
 protected:
  // Whole numbers, whose sum does not depend on the order of the additions.
  at::Tensor gradients_of(int rank, int step) { return at::arange(kElements, at::kFloat) * (rank + 1) + step; }

  at::Tensor summed(int step) {
    at::Tensor sum = at::zeros({kElements});
    for (int rank = 0; rank < communicator->size(); ++rank) sum += gradients_of(rank, step);
    return sum;
  }

  static ShardLayout whole(std::int64_t bucket_bytes) { return {{{0, kElements}}, 1, bucket_bytes / 4}; }

  const std::unique_ptr<Communicator> communicator = make_mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(60));
  const at::Tensor gradients = at::zeros({kElements});
};

TEST_F(GradientReducerOverMpi, SumsWhateverOrderTheGradientsArriveInOnEachRank) {
  std::mt19937 random(17 + communicator->rank());  // the ranks' orders differ
  for (const std::int64_t bucket_bytes : {64, 256, 1200, 1 << 20}) {
    for (const bool overlap : {true, false}) {
      GradientReducer reducer(*communicator, gradients, kOffsets, whole(bucket_bytes), ReducedTo::every_rank, overlap);
      for (int step = 0; step < 10; ++step) {
        std::vector<std::size_t> order(kParameters);
        std::iota(order.begin(), order.end(), 0);
        std::shuffle(order.begin(), order.end(), random);
        order.resize(random() % (kParameters + 1));  // the rest is never ready: finish() reduces it
        gradients.copy_(gradients_of(communicator->rank(), step));
        for (const std::size_t index : order) reducer.ready(index);
        reducer.finish();
        ASSERT_TRUE(at::equal(gradients, summed(step))) << "bucket of " << bucket_bytes << " bytes, step " << step;
      }
    }
  }
}

TEST_F(GradientReducerOverMpi, HandsMpiTheBytesThatItReports) {
  for (const std::int64_t bucket_bytes : {64, 1200, 1 << 20}) {
    GradientReducer reducer(*communicator, gradients, kOffsets, whole(bucket_bytes), ReducedTo::every_rank, true);
    bytes_given_to_mpi = 0;
    for (std::size_t index = 0; index < kParameters; ++index) reducer.ready(index);
    reducer.finish();
    EXPECT_EQ(bytes_given_to_mpi, reducer.bytes_per_step());
    EXPECT_EQ(bytes_given_to_mpi, communicator->size() > 1 ? kElements * 4 : 0);
  }
}

TEST_F(GradientReducerOverMpi, StartsABucketWithItsLastGradientOnlyWhereItOverlaps) {
  if (communicator->size() == 1) return;  // nothing is started there, as the test above holds
  const auto calls_after = [&](bool overlap, const std::vector<std::size_t>& ready) {
    // Buckets of parameters 0-5, 6-7, and four of 7 alone.
    GradientReducer reducer(*communicator, gradients, kOffsets, whole(4000), ReducedTo::every_rank, overlap);
    calls_of_mpi = 0;
    for (const std::size_t index : ready) reducer.ready(index);
    const std::int64_t calls = calls_of_mpi;
    reducer.finish();
    EXPECT_EQ(calls_of_mpi, 5);
    return calls;
  };
  EXPECT_EQ(calls_after(true, {0, 1, 2, 3, 4}), 0);
  EXPECT_EQ(calls_after(true, {0, 1, 2, 3, 4, 5}), 1);
  EXPECT_EQ(calls_after(true, {5, 6, 7}), 0) << "the order of the buckets is the same on every rank";
  EXPECT_EQ(calls_after(true, {5, 6, 7, 4, 3, 2, 1, 0}), 5);
  EXPECT_EQ(calls_after(false, {0, 1, 2, 3, 4, 5, 6, 7}), 0);
}

TEST_F(GradientReducerOverMpi, AGradientThatIsReadyTwiceIsAnErrorOfTheProgram) {
  GradientReducer reducer(*communicator, gradients, kOffsets, whole(1 << 20), ReducedTo::every_rank, true);
  reducer.ready(2);
  EXPECT_THROW(reducer.ready(2), std::logic_error);
  reducer.finish();
  EXPECT_NO_THROW(reducer.ready(2)) << "a new step";
}

TEST_F(GradientReducerOverMpi, OffsetsThatDoNotCoverTheGradientsAreAnError) {
  for (const std::vector<std::int64_t>& offsets : {std::vector<std::int64_t>{0, 10}, {1, kElements}, {}}) {
    EXPECT_THROW(GradientReducer(*communicator, gradients, offsets, whole(4), ReducedTo::every_rank, true),
                 std::logic_error);
  }
}

TEST_F(GradientReducerOverMpi, LeavesToOthersWhatTheyReduce) {
  for (const std::int64_t bucket_bytes : {64, 1200, 1 << 20}) {
    const ShardLayout layout({{10, 11}, {300, 1064}}, 1, bucket_bytes / 4);
    GradientReducer reducer(*communicator, gradients, kOffsets, layout, ReducedTo::every_rank, true);
    gradients.copy_(gradients_of(communicator->rank(), 1));
    bytes_given_to_mpi = 0;
    for (std::size_t index = 0; index < kParameters; ++index) reducer.ready(index);
    reducer.finish();
    EXPECT_EQ(bytes_given_to_mpi, reducer.bytes_per_step());
    at::Tensor expected = summed(1);
    std::int64_t left_out = 0;
    for (const std::size_t i : {0, 3, 7}) {
      expected.slice(0, kOffsets[i], kOffsets[i + 1])
          .copy_(gradients_of(communicator->rank(), 1).slice(0, kOffsets[i], kOffsets[i + 1]));
      left_out += kOffsets[i + 1] - kOffsets[i];
    }
    EXPECT_TRUE(at::equal(gradients, expected)) << "bucket of " << bucket_bytes << " bytes";
    EXPECT_EQ(reducer.bytes_per_step(), communicator->size() > 1 ? (kElements - left_out) * 4 : 0);
  }
}

TEST_F(GradientReducerOverMpi, LeavesEachRankItsShareAndWhatIsTooLittleToShare) {
  const int ranks = communicator->size();
  for (const std::int64_t bucket_bytes : {64, 1200, 1 << 20}) {
    for (const bool overlap : {true, false}) {
      const ShardLayout layout({{0, 300}, {301, kElements}}, ranks, bucket_bytes / 4);
      GradientReducer reducer(*communicator, gradients, kOffsets, layout, ReducedTo::shares, overlap);
      for (int step = 0; step < 3; ++step) {
        gradients.copy_(gradients_of(communicator->rank(), step));
        for (std::size_t index = kParameters; index-- > 0;) reducer.ready(index);
        reducer.finish();
        const at::Tensor expected = summed(step);
        std::int64_t covered = 0;
        for (const auto& bucket : layout.buckets()) {
          for (const Stretch& own : {layout.share(bucket, communicator->rank()), bucket.rest}) {
            EXPECT_TRUE(at::equal(gradients.slice(0, own.begin, own.end), expected.slice(0, own.begin, own.end)));
          }
          EXPECT_LT(bucket.rest.size(), 16 * ranks);
          covered += bucket.whole().size();
        }
        EXPECT_EQ(covered, kElements - 1);
      }
    }
  }
}

class Bfloat16OnTheWay : public GradientReducerOverMpi {
 protected:
  static at::Tensor noise_of(int rank, int step) {
    const auto i = at::arange(kElements, at::kDouble);
    return (at::sin(i * (rank + 1) + step) * at::exp2(i.remainder(30) - 20)).to(at::kFloat);
  }

  // Whether [begin, end) of the gradients is the sum but for a rounding of each term and of each addition.
  void expect_sum(int step, std::int64_t begin, std::int64_t end) const {
    auto sum = at::zeros({kElements}, at::kDouble);
    auto sizes = at::zeros_like(sum);
    for (int rank = 0; rank < communicator->size(); ++rank) {
      sum += noise_of(rank, step);
      sizes += noise_of(rank, step).abs();
    }
    const auto bound = sizes * (std::pow(1 + std::ldexp(1.0, -8), communicator->size()) - 1);
    const auto is_near = (gradients - sum).abs() <= bound;
    EXPECT_TRUE(is_near.slice(0, begin, end).all().item<bool>());
    const auto rounded = gradients.to(at::kBFloat16).to(at::kFloat);
    EXPECT_TRUE(at::equal(gradients.slice(0, begin, end), rounded.slice(0, begin, end)));
  }
};

TEST_F(Bfloat16OnTheWay, IsHalfTheBytesAndLeavesEveryRankTheSameSum) {
  for (const std::int64_t bucket_bytes : {64, 1200, 1 << 20}) {
    for (const bool overlap : {true, false}) {
      const ShardLayout layout({{0, 300}, {301, kElements}}, 1, bucket_bytes / 4);
      GradientReducer reducer(*communicator, gradients, kOffsets, layout, ReducedTo::every_rank, overlap,
                              WireFormat::bf16);
      for (int step = 0; step < 3; ++step) {
        const auto mine = noise_of(communicator->rank(), step);
        gradients.copy_(mine);
        bytes_given_to_mpi = 0;
        for (std::size_t index = kParameters; index-- > 0;) reducer.ready(index);
        reducer.finish();
        EXPECT_EQ(bytes_given_to_mpi, reducer.bytes_per_step());
        if (communicator->size() == 1) {
          EXPECT_TRUE(at::equal(gradients, mine)) << "nothing is exchanged, and nothing rounded";
          EXPECT_EQ(reducer.bytes_per_step(), 0);
          continue;
        }
        EXPECT_EQ(reducer.bytes_per_step(), 2 * (kElements - 1));
        expect_sum(step, 0, 300);
        expect_sum(step, 301, kElements);
        EXPECT_EQ(gradients[300].item<float>(), mine[300].item<float>()) << "somebody else's to reduce";
        const auto sums = at::cat({gradients.slice(0, 0, 300), gradients.slice(0, 301)}).view({1, -1});
        const auto all = communicator->all_gather(sums);
        EXPECT_TRUE(at::equal(all, all[0].expand_as(all)));
      }
    }
  }
}

TEST_F(Bfloat16OnTheWay, LeavesEachRankItsShare) {
  if (communicator->size() == 1) return;  // the test above holds what one rank does
  const ShardLayout layout({{0, 300}, {301, kElements}}, communicator->size(), 300);
  GradientReducer reducer(*communicator, gradients, kOffsets, layout, ReducedTo::shares, true, WireFormat::bf16);
  for (int step = 0; step < 3; ++step) {
    gradients.copy_(noise_of(communicator->rank(), step));
    for (std::size_t index = 0; index < kParameters; ++index) reducer.ready(index);
    reducer.finish();
    for (const auto& bucket : layout.buckets()) {
      const Stretch share = layout.share(bucket, communicator->rank());
      expect_sum(step, share.begin, share.end);
      expect_sum(step, bucket.rest.begin, bucket.rest.end);
    }
    EXPECT_EQ(reducer.bytes_per_step(), 2 * (kElements - 1));
  }
}

TEST_F(GradientReducerOverMpi, SumsTheRowsThatAnyRankHas) {
  const int rank = communicator->rank();
  const int size = communicator->size();
  for (const WireFormat format : {WireFormat::fp32, WireFormat::bf16}) {
    const auto table = at::zeros({40, 3});
    // Rows of its own, one that all have, and none but that on rank 1.
    std::vector<std::int64_t> rows{7};
    if (rank != 1) rows = {rank, 7, 20 + rank};
    for (const std::int64_t row : rows) table[row].fill_(rank + 1);
    bytes_given_to_mpi = 0;
    const ReducedRows reduced = all_reduce_rows(*communicator, table, rows, format);
    EXPECT_EQ(reduced.bytes, bytes_given_to_mpi);
    std::vector<std::int64_t> expected;
    for (std::int64_t row = 0; row < 40; ++row) {
      double sum = row == 7 ? size * (size + 1) / 2 : 0;
      for (int other = 0; other < size; ++other) {
        if (other != 1 && (row == other || row == 20 + other)) sum = other + 1;
      }
      if (sum > 0) expected.push_back(row);
      EXPECT_EQ(table[row].min().item<double>(), sum) << row;
      EXPECT_EQ(table[row].max().item<double>(), sum) << row;
    }
    EXPECT_EQ(reduced.rows, expected);
    // How many ranks have each of the 40 rows, and those that any has.
    const auto numbers = 3 * static_cast<std::int64_t>(expected.size());
    EXPECT_EQ(reduced.bytes, size == 1 ? 0 : 40 * 4 + wire_bytes(format, numbers));
  }
}

TEST_F(GradientReducerOverMpi, NoParametersAreNoBytes) {
  GradientReducer reducer(*communicator, at::zeros({0}), {0}, ShardLayout({}, 1, 1), ReducedTo::every_rank, true);
  reducer.finish();
  EXPECT_EQ(reducer.bytes_per_step(), 0);
}

}  // namespace
}  // namespace dtrain::dist
