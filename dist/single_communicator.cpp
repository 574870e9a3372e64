#include <ATen/ATen.h>

#include "dist/communicator.h"
#include "dist/rank_counters.h"
#include "dist/tensor_checks.h"

namespace dtrain::dist {

namespace {

// One rank serves any device: the tensor's own is the one expected.
at::Device own_device(const at::Tensor& tensor) { return tensor.defined() ? tensor.device() : at::kCPU; }

class EndedWork final : public Work {
 public:
  bool test() override { return true; }
  void wait() override {}
};

// Checks what the other back ends check, on any device, so that a program that runs on one rank runs on many.
class SingleCommunicator final : public Communicator {
 public:
  std::string_view name() const override { return "single"; }
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::chrono::milliseconds timeout() const override { return timeout_; }
  void set_timeout(std::chrono::milliseconds timeout) override { timeout_ = timeout; }

  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor) override {
    check_tensor(tensor, own_device(tensor), "all_reduce", name());
    return std::make_unique<EndedWork>();
  }

  std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& rows) override {
    check_rows(rows, own_device(rows), "reduce_scatter", name());
    return std::make_unique<EndedWork>();
  }

  std::unique_ptr<Work> start_all_gather(const at::Tensor& rows) override {
    check_rows(rows, own_device(rows), "all_gather", name());
    return std::make_unique<EndedWork>();
  }

  void broadcast(const at::Tensor& tensor, int root) override {
    check_tensor(tensor, own_device(tensor), "broadcast", name());
    check_root(root, 1, "broadcast");
  }

  at::Tensor all_gather(const at::Tensor& rows) override {
    check_rows(rows, own_device(rows), "all_gather", name());
    return rows.clone();
  }

  void send(const at::Tensor&, int to) override { check_peer(to, 0, 1, "send"); }
  void receive(const at::Tensor&, int from) override { check_peer(from, 0, 1, "receive"); }
  void barrier() override {}

  std::unique_ptr<Communicator> split(int colour) override {
    check_colour(colour);
    auto part = make_single_communicator();
    part->set_timeout(timeout_);
    return part;
  }

  RankCounters& counters_beside() override { return counters_; }

 private:
  std::chrono::milliseconds timeout_ = std::chrono::hours(24);  // nobody is waited for
  RankCounters::Counter counter_{0};
  RankCounters counters_{{&counter_}, {0}, 0};
};

}  // namespace

std::unique_ptr<Communicator> make_single_communicator() { return std::make_unique<SingleCommunicator>(); }

}  // namespace dtrain::dist
