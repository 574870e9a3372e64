// GoogleTest's main for programs of several ranks: rank 0 prints, the others print what fails, and all return the same.

#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

namespace {

class FailurePrinter : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::printf("[rank %d] %s:%d: failure in %s\n%s\n", rank_, result.file_name() ? result.file_name() : "",
                result.line_number(), testing::UnitTest::GetInstance()->current_test_info()->name(), result.message());
    std::fflush(stdout);
  }

 private:
  int rank_;
};

// The largest code of all ranks. A rank that never comes is a failure too.
int agree(int code) {
  int agreed = 0, ended = 0;
  MPI_Request request;
  MPI_Iallreduce(&code, &agreed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD, &request);
  for (int i = 0; i < 6000 && !ended; ++i) {
    MPI_Test(&request, &ended, MPI_STATUS_IGNORE);
    if (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (!ended) {
    std::printf("not every rank came to the end of the tests\n");
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  return agreed;
}

}  // namespace

int main(int argc, char** argv) {
  int provided = 0, rank = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  testing::InitGoogleTest(&argc, argv);
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank != 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter(rank));
  }
  int code = RUN_ALL_TESTS();
  const auto& outcome = *testing::UnitTest::GetInstance();
  if (outcome.successful_test_count() + outcome.failed_test_count() == 0) {
    // CTest's entry says "Skipped" (SKIP_RETURN_CODE) where every test said why it cannot run here; a filter that
    // matches nothing is a failure.
    code = outcome.skipped_test_count() > 0 ? 77 : 1;
  }
  code = agree(code);
  if (code != 0 && code != 77) MPI_Abort(MPI_COMM_WORLD, code);  // requests of failed tests may be under way
  MPI_Finalize();
  return code;
}
