#pragma once

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "base/error.h"
#include "dist/communicator.h"

namespace dtrain::dist {

/// A back end under test. A program makes one or more, includes this file, and instantiates the suite with them.
struct Backend {
  std::string name;
  at::Device device;
  /// Null where the back end cannot run on this machine: then every case says "not run", and so does CTest ("Skipped").
  std::function<std::unique_ptr<Communicator>()> make;
  std::int64_t large = 3'000'017;
};

inline void PrintTo(const Backend& backend, std::ostream* stream) { *stream << backend.name; }

/// What every back end does alike, for any number of ranks.
class CommunicatorSuite : public testing::TestWithParam<Backend> {
 protected:
  CommunicatorSuite()
      : communicator(GetParam().make()),
        rank(communicator ? communicator->rank() : 0),
        size(communicator ? communicator->size() : 0) {}

  void SetUp() override {
    if (!communicator) GTEST_SKIP() << "not run: no device for " << GetParam().name;
  }

  /// On the device of the back end.
  at::Tensor here(const at::Tensor& tensor) const { return tensor.to(GetParam().device); }

  /// `shape` filled with a value.
  at::Tensor full(at::IntArrayRef shape, double value, at::ScalarType type = at::kFloat) const {
    return at::full(shape, value, at::TensorOptions(GetParam().device).dtype(type));
  }

  const std::unique_ptr<Communicator> communicator;
  const int rank;
  const int size;
};

inline const std::vector<at::ScalarType> kTypes{at::kByte, at::kInt, at::kLong, at::kBFloat16, at::kFloat, at::kDouble};

TEST_P(CommunicatorSuite, AllReduceSumsOverTheRanksInEveryType) {
  for (const at::ScalarType type : kTypes) {
    SCOPED_TRACE(c10::toString(type));
    const at::Tensor tensor = here(at::arange(7).to(type) + rank);
    communicator->all_reduce(tensor);
    const at::Tensor expected = (at::arange(7) * size + size * (size - 1) / 2).to(type);
    EXPECT_TRUE(at::equal(tensor.cpu(), expected)) << tensor;
  }
}

TEST_P(CommunicatorSuite, AllReduceOfLongIntegersIsExactBeyondTheMantissaOfADouble) {
  const std::int64_t large = (std::int64_t{1} << 55) + 1;
  const at::Tensor tensor = here(at::full({3}, large, at::kLong));
  communicator->all_reduce(tensor);
  EXPECT_EQ(tensor[2].item<std::int64_t>(), large * size);
}

TEST_P(CommunicatorSuite, SumsOfBfloat16AreRoundedOnceForEachAdditionAndAlikeOnEveryRank) {
  // Of both signs and many sizes, and of a count that no vector divides.
  constexpr std::int64_t kNumbers = 4099;
  const auto terms_of = [](int r) {
    const at::Tensor i = at::arange(kNumbers, at::kDouble);
    return (at::sin(i * (r + 1) + r) * at::exp2(i.remainder(40) - 20)).to(at::kBFloat16);
  };
  at::Tensor sum = at::zeros({kNumbers}, at::kDouble);
  at::Tensor sizes = at::zeros_like(sum);
  for (int r = 0; r < size; ++r) {
    sum += terms_of(r).to(at::kDouble);
    sizes += terms_of(r).to(at::kDouble).abs();
  }
  const auto bound = sizes * (std::pow(1 + std::ldexp(1.0, -8), size - 1) - 1);
  at::Tensor before;
  for (int i = 0; i < 3; ++i) {
    const at::Tensor reduced = here(terms_of(rank));
    communicator->all_reduce(reduced);
    EXPECT_TRUE(((reduced.cpu().to(at::kDouble) - sum).abs() <= bound).all().item<bool>());
    const at::Tensor all = communicator->all_gather(reduced.view({1, -1}));
    EXPECT_TRUE(at::equal(all, all[0].expand_as(all)));
    if (i > 0) {
      EXPECT_TRUE(at::equal(reduced, before)) << "another sum of the same numbers";
    }
    before = reduced;
  }
}

TEST_P(CommunicatorSuite, SumsOfBfloat16RoundTiesToEvenAndKeepWhatIsNotFinite) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double half_a_place = std::ldexp(1.0, -8);  // of numbers from 1 to 2
  const std::vector<double> first = {1, 1 + 2 * half_a_place, infinity, infinity, 3e38};
  const std::vector<double> last = {half_a_place, half_a_place, 1, -infinity, 3e38};
  at::Tensor numbers = at::zeros({5}, at::kDouble);
  if (rank == 0) numbers += at::tensor(first, at::kDouble);
  if (rank == size - 1) numbers += at::tensor(last, at::kDouble);
  const at::Tensor reduced = here(numbers.to(at::kBFloat16));
  communicator->all_reduce(reduced);
  const at::Tensor sums = reduced.cpu().to(at::kDouble);
  EXPECT_EQ(sums[0].item<double>(), 1);
  EXPECT_EQ(sums[1].item<double>(), 1 + 4 * half_a_place);
  EXPECT_EQ(sums[2].item<double>(), infinity);
  EXPECT_TRUE(std::isnan(sums[3].item<double>()));
  EXPECT_EQ(sums[4].item<double>(), infinity);
}

TEST_P(CommunicatorSuite, SeveralAllReducesMayBeUnderWayAndEndInAnyOrder) {
  std::vector<at::Tensor> tensors;
  std::vector<std::unique_ptr<Work>> works;
  for (int i = 0; i < 5; ++i) {
    tensors.push_back(full({1000 + i}, (i + 1) * (rank + 1)));
    works.push_back(communicator->start_all_reduce(tensors.back()));
  }
  for (int i = 4; i >= 0; --i) {
    works[i]->test();
    works[i]->wait();
    EXPECT_TRUE(works[i]->test());
    EXPECT_TRUE(at::equal(tensors[i], full({1000 + i}, (i + 1) * size * (size + 1) / 2)));
  }
}

TEST_P(CommunicatorSuite, AWorkThatIsDroppedStillEnds) {
  const at::Tensor tensor = full({100}, 1);
  communicator->start_all_reduce(tensor);
  EXPECT_TRUE(at::equal(tensor, full({100}, size)));
}

TEST_P(CommunicatorSuite, ALargeAllReduceIsComplete) {
  const at::Tensor tensor = full({GetParam().large}, rank + 1);
  communicator->all_reduce(tensor);
  EXPECT_TRUE(at::equal(tensor, full({GetParam().large}, size * (size + 1) / 2)));
}

TEST_P(CommunicatorSuite, BroadcastGivesTheRootsTensorToAll) {
  for (int root = 0; root < size; ++root) {
    for (const at::ScalarType type : kTypes) {
      const at::Tensor tensor = full({2, 3}, 10 * rank + 1, type);
      communicator->broadcast(tensor, root);
      EXPECT_TRUE(at::equal(tensor, full({2, 3}, 10 * root + 1, type))) << "root " << root;
    }
  }
}

TEST_P(CommunicatorSuite, AllGatherConcatenatesRaggedRowsInTheOrderOfTheRanks) {
  for (const at::ScalarType type : kTypes) {
    std::vector<at::Tensor> shares;
    for (int r = 0; r < size; ++r) shares.push_back(full({2 * r + 1, 3}, r + 5, type));
    EXPECT_TRUE(at::equal(communicator->all_gather(shares[rank]), at::cat(shares)));
  }
}

TEST_P(CommunicatorSuite, AllGatherTakesRanksWithoutRows) {
  for (int full_rank = 0; full_rank < size; ++full_rank) {
    const at::Tensor rows = full({rank == full_rank ? 4 : 0, 2}, rank + 1);
    EXPECT_TRUE(at::equal(communicator->all_gather(rows), full({4, 2}, full_rank + 1)));
  }
}

TEST_P(CommunicatorSuite, AllGatherOfNoRowsAtAllKeepsTheTrailingShape) {
  EXPECT_EQ(communicator->all_gather(full({0, 5}, 0)).sizes(), (std::vector<std::int64_t>{0, 5}));
  EXPECT_EQ(communicator->all_gather(full({2, 0}, 0)).sizes(), (std::vector<std::int64_t>{2 * size, 0}));
}

TEST_P(CommunicatorSuite, AllGatherGivesATensorOfItsOwn) {
  const at::Tensor rows = full({1, 2}, rank);
  const at::Tensor gathered = communicator->all_gather(rows);
  rows.fill_(99);
  EXPECT_EQ(gathered.max().item<float>(), size - 1);
}

TEST_P(CommunicatorSuite, AllGatherNamesTheRankWhoseTypeOrShapeDiffersAndStaysUsable) {
  if (size > 1) {
    const std::vector<at::Tensor> odd{full({2, 4}, 0), full({2, 3}, 0, at::kDouble), full({2, 3, 1}, 0)};
    for (const at::Tensor& other : odd) {
      try {
        communicator->all_gather(rank == 1 ? other : full({2, 3}, 0));
        ADD_FAILURE() << "no error";
      } catch (const CommunicationError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("on rank 1 and Float [*, 3] on rank 0"));
      }
    }
  }
  EXPECT_EQ(communicator->all_gather(full({1}, 0)).numel(), size);
}

TEST_P(CommunicatorSuite, ReduceScatterLeavesThisRanksRowsOfTheSumInPlace) {
  for (const at::ScalarType type : kTypes) {
    const at::Tensor rows = here((at::arange(size * 2 * 3).view({size * 2, 3}) + rank).to(type));
    communicator->reduce_scatter(rows);
    const at::Tensor all = (at::arange(size * 2 * 3).view({size * 2, 3}) * size + size * (size - 1) / 2).to(type);
    EXPECT_TRUE(at::equal(rows.narrow(0, rank * 2, 2).cpu(), all.narrow(0, rank * 2, 2))) << rows;
  }
}

TEST_P(CommunicatorSuite, AllGatherInPlaceFillsInTheRowsOfTheOthers) {
  for (const at::ScalarType type : kTypes) {
    const at::Tensor all = here((at::arange(size * 2 * 3).view({size * 2, 3}) + 1).to(type));
    const at::Tensor rows = full({size * 2, 3}, 0, type);
    rows.narrow(0, rank * 2, 2).copy_(all.narrow(0, rank * 2, 2));
    communicator->start_all_gather(rows)->wait();
    EXPECT_TRUE(at::equal(rows, all)) << rows;
  }
}

TEST_P(CommunicatorSuite, ALargeReduceScatterThenAllGatherIsAnAllReduce) {
  const at::Tensor tensor = full({size * (GetParam().large / 4 + 1)}, rank + 1);
  tensor[0] = 100 * rank;
  tensor[tensor.numel() - 1] = rank * rank;
  const at::Tensor expected = tensor.clone();
  communicator->all_reduce(expected);
  communicator->reduce_scatter(tensor);
  communicator->start_all_gather(tensor)->wait();
  EXPECT_TRUE(at::equal(tensor, expected));
}

TEST_P(CommunicatorSuite, DifferentCollectivesMayBeUnderWayAndEndInAnyOrder) {
  const at::Tensor summed = full({1000}, rank + 1);
  const at::Tensor scattered = full({size * 500}, rank + 1);
  const at::Tensor gathered = full({size * 300}, rank + 1);
  const auto first = communicator->start_all_reduce(summed);
  const auto second = communicator->start_reduce_scatter(scattered);
  const auto third = communicator->start_all_gather(gathered);
  third->wait();
  second->test();
  first->wait();
  second->wait();
  const double sum = size * (size + 1) / 2.0;
  EXPECT_TRUE(at::equal(summed, full({1000}, sum)));
  EXPECT_TRUE(at::equal(scattered.narrow(0, rank * 500, 500), full({500}, sum)));
  for (int r = 0; r < size; ++r) EXPECT_TRUE(at::equal(gathered.narrow(0, r * 300, 300), full({300}, r + 1)));
}

TEST_P(CommunicatorSuite, WhatIsComputedAfterJoiningTheStreamSeesTheResult) {
  const at::Tensor summed = full({GetParam().large}, rank + 1);
  const at::Tensor gathered = full({size}, rank + 1, at::kDouble);
  const auto first = communicator->start_all_reduce(summed);
  const auto second = communicator->start_all_gather(gathered);
  first->join_stream();
  second->join_stream();
  const at::Tensor doubled = summed * 2;
  const at::Tensor total = gathered.sum();
  first->wait();  // it may be joined and waited for, in either order
  second->wait();
  second->join_stream();
  EXPECT_TRUE(at::equal(doubled, full({GetParam().large}, size * (size + 1))));
  EXPECT_EQ(total.item<double>(), size * (size + 1) / 2.0);
}

TEST_P(CommunicatorSuite, RowsThatDoNotDivideAreRefused) {
  if (size > 1) {
    EXPECT_THROW(communicator->start_reduce_scatter(full({size + 1, 2}, 0)), CommunicationError);
    EXPECT_THROW(communicator->start_all_gather(full({size + 1, 2}, 0)), CommunicationError);
  }
  const at::Tensor rows = full({size, 2}, 1);
  communicator->reduce_scatter(rows);
  EXPECT_EQ(rows[rank].sum().item<float>(), 2 * size);
}

TEST_P(CommunicatorSuite, ATimeoutHoldsWhileItsScopeLives) {
  using namespace std::chrono_literals;
  const auto usual = communicator->timeout();
  {
    const TimeoutScope scope(*communicator, 50s);
    EXPECT_EQ(communicator->timeout(), 50s);
    EXPECT_EQ(communicator->split(0)->timeout(), 50s) << "a part begins with it";
  }
  EXPECT_EQ(communicator->timeout(), usual);
  communicator->barrier();
}

TEST_P(CommunicatorSuite, TensorsOfNoElementsPass) {
  const at::Tensor none = full({0}, 0);
  communicator->all_reduce(none);
  communicator->broadcast(none, size - 1);
  communicator->reduce_scatter(none);
  communicator->start_all_gather(none)->wait();
  if (size > 1 && rank == 0) communicator->send(none, 1);
  if (rank == 1) communicator->receive(none, 0);
}

TEST_P(CommunicatorSuite, SendAndReceivePassATensorAlongAllRanks) {
  const at::Tensor token = full({5}, 0, at::kDouble);
  if (rank > 0) communicator->receive(token, rank - 1);
  token.add_(rank + 1);
  if (rank + 1 < size) communicator->send(token, rank + 1);
  EXPECT_EQ(token[4].item<double>(), (rank + 1) * (rank + 2) / 2);
}

TEST_P(CommunicatorSuite, MessagesBetweenTwoRanksKeepTheirOrder) {
  for (int i = 0; i < 20; ++i) {
    const at::Tensor message = full({1 + i % 3}, rank == 0 ? i : -1, at::kLong);
    if (rank == 0 && size > 1) communicator->send(message, 1);
    if (rank == 1) {
      communicator->receive(message, 0);
      EXPECT_EQ(message[0].item<std::int64_t>(), i);
    }
  }
}

TEST_P(CommunicatorSuite, SendRefusesARankThatIsNotAnother) {
  EXPECT_THROW(communicator->send(full({1}, 0), rank), CommunicationError);
  EXPECT_THROW(communicator->receive(full({1}, 0), size), CommunicationError);
  EXPECT_THROW(communicator->broadcast(full({1}, 0), size), CommunicationError);
  EXPECT_THROW(communicator->broadcast(full({1}, 0), -1), CommunicationError);
}

TEST_P(CommunicatorSuite, SplitMakesPartsThatTalkAmongThemselves) {
  const auto part = communicator->split(rank % 2);
  EXPECT_EQ(part->rank(), rank / 2);
  EXPECT_EQ(part->size(), (size + 1 - rank % 2) / 2);
  const at::Tensor tensor = full({1}, 1 << rank);
  part->all_reduce(tensor);
  int expected = 0;
  for (int r = rank % 2; r < size; r += 2) expected |= 1 << r;
  EXPECT_EQ(tensor.item<float>(), expected);

  // Everything else goes to the part alone, too.
  const at::Tensor gathered = part->all_gather(full({1}, rank));
  EXPECT_EQ(gathered.numel(), part->size());
  for (int r = 0; r < part->size(); ++r) EXPECT_EQ(gathered[r].item<float>(), 2 * r + rank % 2);
  const at::Tensor rows = full({part->size()}, 1);
  part->reduce_scatter(rows);
  EXPECT_EQ(rows[part->rank()].item<float>(), part->size());
  const at::Tensor of_last = full({1}, rank);
  part->broadcast(of_last, part->size() - 1);
  EXPECT_EQ(of_last.item<float>(), 2 * (part->size() - 1) + rank % 2);
  const auto alone = part->split(part->rank());
  EXPECT_EQ(alone->size(), 1);
  communicator->barrier();
}

TEST_P(CommunicatorSuite, SplitRefusesANegativeColour) { EXPECT_THROW(communicator->split(-1), CommunicationError); }

TEST_P(CommunicatorSuite, TensorsThatItCannotCarryAreRefusedBeforeAnythingIsSent) {
  const at::Tensor strided = full({4, 6}, 1).t();
  const at::Tensor half = full({4}, 1, at::kHalf);
  for (const at::Tensor& tensor : {strided, half, at::Tensor()}) {
    EXPECT_THROW(communicator->all_reduce(tensor), CommunicationError);
    EXPECT_THROW(communicator->broadcast(tensor, 0), CommunicationError);
    EXPECT_THROW(communicator->all_gather(tensor), CommunicationError);
    EXPECT_THROW(communicator->start_reduce_scatter(tensor), CommunicationError);
    EXPECT_THROW(communicator->start_all_gather(tensor), CommunicationError);
    EXPECT_THROW(communicator->send(tensor, (rank + 1) % size), CommunicationError);
    EXPECT_THROW(communicator->receive(tensor, (rank + 1) % size), CommunicationError);
  }
  EXPECT_THROW(communicator->all_gather(full({}, 1)), CommunicationError);
  communicator->barrier();
}

}  // namespace dtrain::dist
