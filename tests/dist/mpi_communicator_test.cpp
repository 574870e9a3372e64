#include "dist/mpi/mpi_communicator.h"

#include <mpi.h>
#include <sys/resource.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "dist/rank_counters.h"
#include "tests/dist/communicator_suite.h"

namespace {
int operations_freed = 0;
}  // namespace

// MPI's profiling interface.
extern "C" int MPI_Op_free(MPI_Op* operation) {
  ++operations_freed;
  return PMPI_Op_free(operation);
}

namespace dtrain::dist {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

std::unique_ptr<Communicator> make() { return make_mpi_communicator(MPI_COMM_WORLD, 60s); }
std::unique_ptr<Communicator> make_in_pieces() { return make_mpi_communicator(MPI_COMM_WORLD, 60s, 3); }

INSTANTIATE_TEST_SUITE_P(Mpi, CommunicatorSuite,
                         testing::Values(Backend{"mpi", at::kCPU, make},
                                         Backend{"mpi in pieces of 3", at::kCPU, make_in_pieces, 5000}));

// Runs `call`, which must fail, and returns its message; `seconds` bounds how long it may take.
template <class Call>
std::string failure_of(double seconds, Call call) {
  const auto start = steady_clock::now();
  std::string message = "no error";
  try {
    call();
  } catch (const CommunicationError& error) {
    message = error.what();
  }
  EXPECT_LT(std::chrono::duration<double>(steady_clock::now() - start).count(), seconds);
  return message;
}

TEST(MpiCommunicator, ATensorOnADeviceIsRefused) {
  const auto communicator = make();
  const at::Tensor elsewhere = at::empty({2}, at::kMeta);
  EXPECT_THAT(failure_of(1, [&] { communicator->all_reduce(elsewhere); }),
              testing::HasSubstr("all_reduce over mpi: expected a tensor on cpu, found one on meta"));
}

TEST(MpiCommunicator, ARankThatDoesNotComeIsNamedWithinTheTimeout) {
  const auto communicator = make_mpi_communicator(MPI_COMM_WORLD, 500ms);
  const int last = communicator->size() - 1;
  communicator->barrier();
  if (communicator->rank() != last) {
    const at::Tensor tensor = at::ones({1000});
    EXPECT_THAT(failure_of(10, [&] { communicator->all_reduce(tensor); }),
                testing::StartsWith("all_reduce #2 did not end within 500 ms: rank " + std::to_string(last) +
                                    " did not come (it is at #1)"));
    EXPECT_THAT(failure_of(.1, [&] { communicator->barrier(); }),
                testing::HasSubstr("of no use after an earlier failure: all_reduce #2"));
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiCommunicator, InAPartOfTheRanksTheyAreCalledByTheirNumberInTheWorld) {
  const auto world = make_mpi_communicator(MPI_COMM_WORLD, 500ms);
  const auto part = world->split(world->rank() / 2);
  if (part->rank() == 0 && part->size() == 2) {
    EXPECT_THAT(failure_of(10, [&] { part->all_gather(at::ones({1})); }),
                testing::HasSubstr("rank " + std::to_string(world->rank() + 1) + " did not come (it is at #0)"));
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiCommunicator, TheSumOfBfloat16IsFreedUnlessACollectiveMayStillMakeIt) {
  make();
  auto communicator = make_mpi_communicator(MPI_COMM_WORLD, 300ms);
  const bool is_last = communicator->rank() == communicator->size() - 1;
  if (!is_last) {
    const at::Tensor tensor = at::ones({1000}, at::kBFloat16);
    EXPECT_THAT(failure_of(10, [&] { communicator->all_reduce(tensor); }), testing::HasSubstr("did not come"));
  }
  operations_freed = 0;
  communicator.reset();
  EXPECT_EQ(operations_freed, is_last ? 1 : 0);
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiCommunicator, ACallMayHaveATimeoutOfItsOwnAndKeepsItAfterItsScope) {
  const auto communicator = make();
  const int last = communicator->size() - 1;
  if (communicator->rank() != last) {
    const at::Tensor tensor = at::ones({1000});
    std::unique_ptr<Work> work;
    {
      const TimeoutScope scope(*communicator, 300ms);
      work = communicator->start_all_reduce(tensor);
    }
    EXPECT_THAT(failure_of(10, [&] { work->wait(); }),
                testing::StartsWith("all_reduce #1 did not end within 300 ms: rank " + std::to_string(last)));
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiCommunicator, APartThatFailsInTimeLeavesTheOthersAndTheWholeOfUse) {
  const auto world = make();
  const auto part = world->split(world->rank() / 2);  // ranks 0 and 1, ranks 2 and 3
  const at::Tensor ones = at::ones({4});
  if (world->rank() / 2 == 0 && part->size() == 2) {
    if (part->rank() == 0) {
      const TimeoutScope scope(*part, 300ms);
      EXPECT_THAT(failure_of(10, [&] { part->reduce_scatter(ones); }),
                  testing::StartsWith("reduce_scatter #1 did not end within 300 ms: rank 1 did not come"));
      EXPECT_THROW(part->barrier(), CommunicationError);
    }
  } else {
    part->all_reduce(ones);
    EXPECT_EQ(ones[0].item<float>(), part->size());
  }
  const at::Tensor one = at::ones({1});
  world->all_reduce(one);
  EXPECT_EQ(one.item<float>(), world->size());
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiCommunicator, AMessageThatIsNotReceivedFailsInTime) {
  const auto communicator = make_mpi_communicator(MPI_COMM_WORLD, 300ms);
  if (communicator->rank() == 0 && communicator->size() > 1) {
    const at::Tensor large = at::ones({1 << 20});  // more than MPI sends ahead
    EXPECT_THAT(failure_of(10, [&] { communicator->send(large, 1); }),
                testing::StartsWith("send to rank 1 did not end within 300 ms: this rank is at #0, rank 1 is at #0"));
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiCommunicator, AMessageOfAnotherLengthIsAnError) {
  for (const int sent : {3, 9}) {
    const auto communicator = make_mpi_communicator(MPI_COMM_WORLD, 300ms);
    if (communicator->rank() == 0 && communicator->size() > 1) communicator->send(at::ones({sent}), 1);
    if (communicator->rank() == 1) {
      const at::Tensor six = at::ones({6});
      EXPECT_THAT(failure_of(5, [&] { communicator->receive(six, 0); }),
                  testing::HasSubstr(sent < 6 ? "expected 6 elements, found 3" : "truncated"));
    }
    MPI_Barrier(MPI_COMM_WORLD);
  }
}

TEST(MpiCommunicator, AnExceptionThatPassesThroughACollectiveUnderWayDoesNotWaitForTheOthers) {
  const auto communicator = make_mpi_communicator(MPI_COMM_WORLD, 60s);
  const auto start = steady_clock::now();
  if (communicator->rank() == 0 && communicator->size() > 1) {
    try {
      [[maybe_unused]] const auto work = communicator->start_all_reduce(at::ones({10}));
      throw std::logic_error("something else");
    } catch (const std::logic_error&) {
    }
    EXPECT_THROW(communicator->barrier(), CommunicationError);
  }
  EXPECT_LT(steady_clock::now() - start, 5s);
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiCommunicator, AnErrorOfMpiInsideACollectiveIsThrownAndDoesNotEndTheProcess) {
  const auto communicator = make_mpi_communicator(MPI_COMM_WORLD, 500ms);
  if (communicator->rank() == 0 && communicator->size() == 2) {
    try {
      communicator->all_reduce(at::ones({1000}));  // it ends, or waits for what the other rank no longer sends
    } catch (const CommunicationError& error) {
      EXPECT_THAT(error.what(), testing::StartsWith("all_reduce #1 did not end within 500 ms"));
    }
  }
  if (communicator->rank() == 1 && communicator->size() == 2) {  // MPI tells the rank of the shorter tensor only
    EXPECT_THAT(failure_of(10, [&] { communicator->all_reduce(at::ones({10})); }),
                testing::StartsWith("all_reduce #1 failed: MPI says \"MPI_ERR_TRUNCATE"));
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return time.tv_sec + 1e-6 * time.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST(MpiCommunicator, ARankThatWaitsLeavesItsCoreToOthers) {
  const auto communicator = make();
  communicator->barrier();
  const double before = cpu_seconds();
  if (communicator->rank() == communicator->size() - 1) {
    std::this_thread::sleep_for(1s);
    communicator->barrier();
  } else {
    const auto start = steady_clock::now();
    communicator->barrier();
    EXPECT_GT(steady_clock::now() - start, 500ms);
    EXPECT_LT(cpu_seconds() - before, .3);
  }
}

TEST(MpiCommunicator, ManyMayBeMadeAndDestroyed) {
  for (int i = 0; i < 50; ++i) {
    const auto communicator = make();
    const auto part = communicator->split(0);
    const at::Tensor one = at::ones({1});
    part->all_reduce(one);
    ASSERT_EQ(one.item<float>(), communicator->size());
  }
}

}  // namespace
}  // namespace dtrain::dist
