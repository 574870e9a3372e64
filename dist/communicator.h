#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string_view>

namespace dtrain::dist {

class RankCounters;

/// A collective under way; it must not outlive its communicator. Destroying one that has not ended waits for it, or
/// abandons it, and with it the communicator, when that has failed or an exception passes through.
class Work {
 public:
  virtual ~Work() = default;
  /// Moves the collective on; true once it has ended. OpenMPI progresses only inside such calls.
  virtual bool test() = 0;
  /// Returns when it has ended. Throws CommunicationError after the communicator's timeout.
  virtual void wait() = 0;
};

/// A group of ranks that exchange contiguous tensors, in the terms of MPI. Every rank calls the same collectives in the
/// same order. A call that fails or does not end within the timeout throws CommunicationError, which names the
/// collective, its sequence number and the ranks that did not come; the communicator is of no use afterwards. A tensor
/// that is refused, before anything is sent, throws it too.
///
/// Tensors: contiguous, of type float, double, int64, int32 or uint8, on the device the back end serves.
class Communicator {
 public:
  virtual ~Communicator() = default;

  /// "single", "mpi" or "nccl".
  virtual std::string_view name() const = 0;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Starts to replace `tensor`, in place, by its sum over the ranks. The tensor must stay untouched until the end.
  virtual std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor) = 0;
  void all_reduce(const at::Tensor& tensor) { start_all_reduce(tensor)->wait(); }

  /// Replaces `tensor` by root's.
  virtual void broadcast(const at::Tensor& tensor, int root) = 0;

  /// [n_r, ...] on each rank -> [sum of n_r, ...], in the order of the ranks. n_r may differ, and be 0.
  virtual at::Tensor all_gather(const at::Tensor& rows) = 0;

  /// [size * n, ...] on each rank -> this rank's n rows of the sum.
  virtual at::Tensor reduce_scatter(const at::Tensor& rows) = 0;

  /// To and from one rank; both sides know shape and type.
  virtual void send(const at::Tensor& tensor, int to) = 0;
  virtual void receive(const at::Tensor& tensor, int from) = 0;

  virtual void barrier() = 0;

  /// The ranks that pass the same colour form a communicator of their own, in the order of their ranks here.
  virtual std::unique_ptr<Communicator> split(int colour) = 0;

  /// Where a back end that runs beside this one, over the same ranks, counts its collectives: it makes NCCL's errors
  /// name the ranks that did not come, too.
  virtual RankCounters& counters_beside() = 0;
};

/// One rank that talks to nobody, for host and device tensors.
std::unique_ptr<Communicator> make_single_communicator();

}  // namespace dtrain::dist
