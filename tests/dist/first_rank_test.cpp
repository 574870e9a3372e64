#include "dist/first_rank.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <string>

#include "base/error.h"
#include "dist/mpi/mpi_communicator.h"

namespace dtrain::dist {
namespace {

class OnSomeRanks : public testing::Test {
 protected:
  /// What `call` throws on this rank.
  template <typename Call>
  static std::string error_of(const Call& call) {
    try {
      call();
    } catch (const Error& error) {
      return std::to_string(error.exit_code()) + ": " + error.what();
    }
    return "no error";
  }

  const std::unique_ptr<Communicator> world = make_mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(60));
  const int last = world->size() - 1;
};

TEST_F(OnSomeRanks, TheFirstAloneActsAndItsErrorIsThatOfEveryRank) {
  int acted = 0;
  on_first_rank(*world, [&] { ++acted; });
  EXPECT_EQ(acted, world->rank() == 0 ? 1 : 0);
  EXPECT_EQ(error_of([&] { on_first_rank(*world, [] { throw InputError("train.tsv:7: no label"); }); }),
            "3: train.tsv:7: no label");
  EXPECT_EQ(error_of([&] { on_first_rank(*world, [] { throw UsageError(""); }); }), "2: ");
  EXPECT_THROW(on_first_rank(*world, [] { throw InputError("of its kind"); }), InputError);
}

TEST_F(OnSomeRanks, ThoseThatActAreTheOnesAsked) {
  int acted = 0;
  on_ranks(*world, world->rank() == last, [&] { ++acted; });
  EXPECT_EQ(acted, world->rank() == last ? 1 : 0);
  on_ranks(*world, false, [&] { ++acted; });
  EXPECT_EQ(acted, world->rank() == last ? 1 : 0);
}

TEST_F(OnSomeRanks, TheErrorOfTheLowestIsThatOfEveryRank) {
  const auto fail = [&] { throw InputError("no file of " + std::to_string(world->rank())); };
  const auto expected = [](int rank) {
    return rank == 0 ? std::string("3: no file of 0") : fmt::format("3: rank {}: no file of {}", rank, rank);
  };
  EXPECT_EQ(error_of([&] { on_ranks(*world, world->rank() == last, fail); }), expected(last));
  EXPECT_EQ(error_of([&] { on_ranks(*world, world->rank() > 0 || last == 0, fail); }), expected(last == 0 ? 0 : 1));
  world->barrier();  // and the communicator is as good as before
}

}  // namespace
}  // namespace dtrain::dist
