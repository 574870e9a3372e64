#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

namespace dtrain::dist {

class RankCounters;

/// A collective under way; it must not outlive its communicator. Destroying one that has not ended waits for it (not
/// where a stream on a device has joined it: that waits), or abandons it, and with it the communicator, when that has
/// failed or an exception passes through.
class Work {
 public:
  virtual ~Work() = default;
  /// Moves the collective on; true once it has ended. OpenMPI progresses only inside such calls.
  virtual bool test() = 0;
  /// Returns when it has ended. Throws CommunicationError after the timeout it was started with.
  virtual void wait() = 0;
  /// What the current stream, on which the tensors were made, is given from now on runs after the collective; the host
  /// goes on where the tensors are on a device, and waits as `wait` does where they are its own. No timeout ends a
  /// stream: before the host waits for that, it waits for this.
  virtual void join_stream() { wait(); }
};

/// A group of ranks that exchange contiguous tensors, in the terms of MPI. Every rank calls the same collectives in the
/// same order. A call that fails or does not end within the timeout throws CommunicationError, which names the
/// collective, its sequence number and the ranks that did not come; the communicator is of no use afterwards. A tensor
/// that is refused, before anything is sent, throws it too.
///
/// Tensors: contiguous, of type float, double, bfloat16, int64, int32 or uint8, on the device the back end serves. What
/// is started works in place, and its tensor must stay untouched until the end.
///
/// A sum is the same bytes on every rank. The order of its additions is the back end's, and may differ with the number
/// of ranks (tree_reduce fixes it); of bfloat16 each is made as float and rounded to nearest, ties to even.
class Communicator {
 public:
  virtual ~Communicator() = default;

  /// "single", "mpi" or "nccl".
  virtual std::string_view name() const = 0;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// How long what is started from now on may take. Set by whoever made the communicator; see TimeoutScope.
  virtual std::chrono::milliseconds timeout() const = 0;
  virtual void set_timeout(std::chrono::milliseconds timeout) = 0;

  /// `tensor` becomes its sum over the ranks.
  virtual std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor) = 0;
  void all_reduce(const at::Tensor& tensor) { start_all_reduce(tensor)->wait(); }

  /// [size * n, ...]: this rank's n rows, from row rank * n, become their sum over the ranks; the others are of no
  /// meaning afterwards.
  virtual std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& rows) = 0;
  void reduce_scatter(const at::Tensor& rows) { start_reduce_scatter(rows)->wait(); }

  /// [size * n, ...]: the n rows from row r * n become those of rank r.
  virtual std::unique_ptr<Work> start_all_gather(const at::Tensor& rows) = 0;

  /// Replaces `tensor` by root's.
  virtual void broadcast(const at::Tensor& tensor, int root) = 0;

  /// [n_r, ...] on each rank -> [sum of n_r, ...], in the order of the ranks. n_r may differ, and be 0.
  virtual at::Tensor all_gather(const at::Tensor& rows) = 0;

  /// To and from one rank; both sides know shape and type.
  virtual void send(const at::Tensor& tensor, int to) = 0;
  virtual void receive(const at::Tensor& tensor, int from) = 0;

  virtual void barrier() = 0;

  /// The ranks that pass the same colour form a communicator of their own, in the order of their ranks here, with this
  /// one's timeout.
  virtual std::unique_ptr<Communicator> split(int colour) = 0;

  /// Where a back end that runs beside this one, over the same ranks, counts its collectives: it makes NCCL's errors
  /// name the ranks that did not come, too.
  virtual RankCounters& counters_beside() = 0;
};

/// Gives what is started while it lives another timeout, on every rank alike.
class [[nodiscard]] TimeoutScope {
 public:
  TimeoutScope(Communicator& communicator, std::chrono::milliseconds timeout)
      : communicator_(communicator), before_(communicator.timeout()) {
    communicator_.set_timeout(timeout);
  }
  ~TimeoutScope() { communicator_.set_timeout(before_); }
  TimeoutScope(const TimeoutScope&) = delete;
  TimeoutScope& operator=(const TimeoutScope&) = delete;

 private:
  Communicator& communicator_;
  std::chrono::milliseconds before_;
};

/// While ranks wait for what one of them reads or writes, which a slow disk or a cold cache may draw out: ten times as
/// long as for a collective.
inline TimeoutScope wait_for_files(Communicator& control) { return {control, 10 * control.timeout()}; }

/// One rank that talks to nobody, for host and device tensors.
std::unique_ptr<Communicator> make_single_communicator();

}  // namespace dtrain::dist
