#include "dist/nccl/nccl_communicator.h"

#include <c10/cuda/CUDAFunctions.h>
#include <mpi.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "dist/mpi/mpi_communicator.h"
#include "dist/rank_counters.h"
#include "tests/dist/communicator_suite.h"

namespace dtrain::dist {
namespace {

using namespace std::chrono_literals;

// Owns the control communicator too, as a program with a GPU a rank would.
class WithControl final : public Communicator {
 public:
  explicit WithControl(std::chrono::milliseconds timeout)
      : control_(make_mpi_communicator(MPI_COMM_WORLD, timeout)), nccl_(make_nccl_communicator(*control_, timeout)) {}
  std::string_view name() const override { return nccl_->name(); }
  int rank() const override { return nccl_->rank(); }
  int size() const override { return nccl_->size(); }
  std::chrono::milliseconds timeout() const override { return nccl_->timeout(); }
  void set_timeout(std::chrono::milliseconds timeout) override { nccl_->set_timeout(timeout); }
  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor) override { return nccl_->start_all_reduce(tensor); }
  std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& rows) override {
    return nccl_->start_reduce_scatter(rows);
  }
  std::unique_ptr<Work> start_all_gather(const at::Tensor& rows) override { return nccl_->start_all_gather(rows); }
  void broadcast(const at::Tensor& tensor, int root) override { nccl_->broadcast(tensor, root); }
  at::Tensor all_gather(const at::Tensor& rows) override { return nccl_->all_gather(rows); }
  void send(const at::Tensor& tensor, int to) override { nccl_->send(tensor, to); }
  void receive(const at::Tensor& tensor, int from) override { nccl_->receive(tensor, from); }
  void barrier() override { nccl_->barrier(); }
  std::unique_ptr<Communicator> split(int colour) override { return nccl_->split(colour); }
  RankCounters& counters_beside() override { return nccl_->counters_beside(); }

 private:
  std::unique_ptr<Communicator> control_;
  std::unique_ptr<Communicator> nccl_;
};

// Null where the ranks do not have a GPU each: NCCL refuses to share one unless told otherwise, from 2.30 on.
std::unique_ptr<Communicator> make(std::chrono::milliseconds timeout) {
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const c10::DeviceIndex gpus = c10::cuda::device_count();
  const bool may_share = gpus > 0 && std::getenv("NCCL_MULTI_RANK_GPU_ENABLE") != nullptr;
  if (gpus < size && !may_share) return nullptr;
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(rank % gpus));
  return std::make_unique<WithControl>(timeout);
}

INSTANTIATE_TEST_SUITE_P(Nccl, CommunicatorSuite,
                         testing::Values(Backend{"nccl (a GPU for each rank)", at::kCUDA, [] { return make(60s); }}));

TEST(NcclCommunicator, ATensorOfTheHostIsRefused) {
  const auto communicator = make(60s);
  if (!communicator) GTEST_SKIP() << "not run: no GPU for each rank";
  EXPECT_THROW(communicator->all_reduce(at::ones({2})), CommunicationError);
}

// How long the host takes over `reduce`, a reduction of `tensor` to which the last rank comes two seconds late.
template <typename Reduce>
std::chrono::nanoseconds host_time_of_late(Communicator& communicator, const at::Tensor& tensor, const Reduce& reduce) {
  communicator.all_reduce(tensor);  // what the first one sets up
  MPI_Barrier(MPI_COMM_WORLD);
  const int last = communicator.size() - 1;
  if (communicator.rank() == last && last > 0) std::this_thread::sleep_for(2s);
  const auto begin = std::chrono::steady_clock::now();
  reduce();
  return std::chrono::steady_clock::now() - begin;
}

TEST(NcclCommunicator, JoiningTheStreamDoesNotMakeTheHostWait) {
  const auto communicator = make(60s);
  if (!communicator) GTEST_SKIP() << "not run: no GPU for each rank";
  const at::Tensor tensor = at::ones({1}, at::kCUDA);
  std::unique_ptr<Work> work;
  const auto join = [&] {
    work = communicator->start_all_reduce(tensor);
    work->join_stream();
  };
  EXPECT_LT(host_time_of_late(*communicator, tensor, join), 1s)
      << "the others wait for the last rank on their streams alone";
  work->wait();
  EXPECT_EQ(tensor.item<float>(), communicator->size() * communicator->size());
}

TEST(NcclCommunicator, AWorkThatTheStreamHasJoinedIsDroppedWithoutAWait) {
  const auto communicator = make(60s);
  if (!communicator) GTEST_SKIP() << "not run: no GPU for each rank";
  const at::Tensor tensor = at::ones({1}, at::kCUDA);
  const auto drop = [&] { communicator->start_all_reduce(tensor)->join_stream(); };
  EXPECT_LT(host_time_of_late(*communicator, tensor, drop), 1s);
  communicator->barrier();  // so that the host waits for the stream no longer than for a collective
  EXPECT_EQ(tensor.item<float>(), communicator->size() * communicator->size());
}

TEST(NcclCommunicator, ARankThatDoesNotComeIsNamedWithinTheTimeout) {
  const auto communicator = make(3s);
  if (!communicator) GTEST_SKIP() << "not run: no GPU for each rank";
  communicator->barrier();
  if (const int last = communicator->size() - 1; communicator->rank() != last) {
    try {
      communicator->barrier();
      ADD_FAILURE() << "no error";
    } catch (const CommunicationError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("rank " + std::to_string(last) + " did not come"));
    }
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

}  // namespace
}  // namespace dtrain::dist
