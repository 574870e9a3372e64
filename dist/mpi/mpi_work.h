#pragma once

#include <ATen/core/Tensor.h>
#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/rank_counters.h"

namespace dtrain::dist {

/// Starts an operation beside those of a communicator, by an MPI function that `call` calls, and returns when it has
/// ended. Throws CommunicationError that names it by `what` where it fails or does not end within `timeout`. `tensors`
/// are what MPI reads and writes meanwhile.
void complete(std::string what, std::chrono::milliseconds timeout, std::vector<at::Tensor> tensors,
              const std::function<int(MPI_Request*)>& call);

/// A duplicate of `parent`, which returns errors. Collective; throws as `complete` does.
MPI_Comm duplicate(MPI_Comm parent, std::string what, std::chrono::milliseconds timeout);

/// Throws CommunicationError that says `what` failed and how MPI calls it, unless `code` is MPI_SUCCESS.
void check_mpi(int code, const std::string& what);

/// What the works of one MPI communicator share with it.
struct MpiState {
  std::chrono::milliseconds timeout;  // of the works that are made from now on
  RankCounters* counters = nullptr;
  std::string failure;  // empty while all is well; then nothing is waited for or freed any more

  /// Throws CommunicationError where something failed before.
  void check() const;
};

/// The MPI requests of one operation, and the tensors that MPI reads and writes until they end.
class MpiWork final : public Work {
 public:
  /// `what` names the operation in errors; `absent` says which ranks it lacks.
  MpiWork(MpiState& state, std::string what, std::function<std::string()> absent, std::vector<at::Tensor> tensors);
  ~MpiWork() override;

  /// Adds a request, which `call` starts by an MPI function whose error code it returns.
  template <class Call>
  void start(Call call) {
    requests_.push_back(MPI_REQUEST_NULL);
    check_call(call(&requests_.back()));
  }

  /// Keeps one more tensor until the end.
  void keep(const at::Tensor& tensor) { tensors_.push_back(tensor); }

  bool test() override;
  void wait() override;

  /// Elements of `type` that the operation received, once ended (point to point only).
  std::int64_t received(MPI_Datatype type) const;

 private:
  void check_call(int code);
  void abandon(const std::string& why);

  MpiState& state_;
  std::chrono::milliseconds timeout_;
  std::string what_;
  std::function<std::string()> absent_;
  std::vector<at::Tensor> tensors_;
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  int exceptions_ = std::uncaught_exceptions();
  bool ended_ = false;
};

}  // namespace dtrain::dist
