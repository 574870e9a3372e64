#include "dist/mpi/mpi_work.h"

#include <fmt/format.h>

#include <exception>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "dist/polling.h"

namespace dtrain::dist {

void check_mpi(int code, const std::string& what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw CommunicationError(fmt::format("{} failed: MPI says \"{}\"", what, std::string_view(text, length)));
}

void complete(std::string what, std::chrono::milliseconds timeout, std::vector<at::Tensor> tensors,
              const std::function<int(MPI_Request*)>& call) {
  MpiState state{timeout, nullptr, ""};
  MpiWork work(
      state, std::move(what), [] { return "not all came"; }, std::move(tensors));
  work.start(call);
  work.wait();
}

MPI_Comm duplicate(MPI_Comm parent, std::string what, std::chrono::milliseconds timeout) {
  auto* copy = new MPI_Comm(MPI_COMM_NULL);  // MPI may write it after a timeout, which is why it is then left
  complete(std::move(what), timeout, {}, [&](MPI_Request* request) { return MPI_Comm_idup(parent, copy, request); });
  const std::unique_ptr<MPI_Comm> made(copy);
  MPI_Comm_set_errhandler(*made, MPI_ERRORS_RETURN);
  return *made;
}

void MpiState::check() const {
  if (!failure.empty()) {
    throw CommunicationError(fmt::format("the communicator is of no use after an earlier failure: {}", failure));
  }
}

MpiWork::MpiWork(MpiState& state, std::string what, std::function<std::string()> absent,
                 std::vector<at::Tensor> tensors)
    : state_(state),
      timeout_(state.timeout),
      what_(std::move(what)),
      absent_(std::move(absent)),
      tensors_(std::move(tensors)) {}

MpiWork::~MpiWork() {
  if (ended_) return;
  if (state_.failure.empty() && std::uncaught_exceptions() == exceptions_) {
    try {
      wait();
      return;
    } catch (const CommunicationError&) {
      // The state keeps it: the next call on the communicator throws.
    }
  }
  abandon(what_ + " was abandoned when an exception passed through");
}

void MpiWork::abandon(const std::string& why) {
  if (state_.failure.empty()) state_.failure = why;
  // MPI may still write into the tensors: they stay until the end of the process.
  for (at::Tensor& tensor : tensors_) tensor.unsafeReleaseTensorImpl();
  tensors_.clear();
  ended_ = true;
}

void MpiWork::check_call(int code) {
  try {
    check_mpi(code, what_);
  } catch (const CommunicationError& error) {
    abandon(error.what());
    throw;
  }
}

bool MpiWork::test() {
  if (ended_) return true;
  state_.check();
  if (state_.counters != nullptr) state_.counters->beat();
  int flag = 0;
  statuses_.resize(requests_.size());
  int code = MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &flag, statuses_.data());
  if (code == MPI_ERR_IN_STATUS) {
    for (const MPI_Status& status : statuses_) {
      if (status.MPI_ERROR != MPI_SUCCESS && status.MPI_ERROR != MPI_ERR_PENDING) code = status.MPI_ERROR;
    }
  }
  check_call(code);
  ended_ = flag != 0;
  return ended_;
}

void MpiWork::wait() {
  if (ends_within(timeout_, [this] { return test(); })) return;
  const double seconds = std::chrono::duration<double>(timeout_).count();
  const std::string failure =
      fmt::format("{} did not end within {}: {}. See why on those ranks, or raise --comm-timeout.", what_,
                  duration_text(seconds), absent_());
  if (state_.counters != nullptr) state_.counters->give_up();
  abandon(failure);
  throw CommunicationError(failure);
}

std::int64_t MpiWork::received(MPI_Datatype type) const {
  std::int64_t elements = 0;
  for (const MPI_Status& status : statuses_) {
    int count = 0;
    MPI_Get_count(&status, type, &count);
    elements += count;
  }
  return elements;
}

}  // namespace dtrain::dist
