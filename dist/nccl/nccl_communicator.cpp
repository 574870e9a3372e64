#include "dist/nccl/nccl_communicator.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>
#include <nccl.h>

#include <cstring>
#include <exception>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "dist/polling.h"
#include "dist/rank_counters.h"
#include "dist/tensor_checks.h"

namespace dtrain::dist {

namespace {

ncclDataType_t nccl_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kByte:
      return ncclUint8;
    case at::kInt:
      return ncclInt32;
    case at::kLong:
      return ncclInt64;
    case at::kFloat:
      return ncclFloat32;
    case at::kBFloat16:
      return ncclBfloat16;
    default:
      return ncclFloat64;  // check_tensor has refused the others
  }
}

// An operation in the words of an error.
struct Operation {
  std::string what;                     // "all_reduce #17"
  std::function<std::string()> absent;  // which ranks it lacks
  std::chrono::milliseconds timeout;
};

// The NCCL communicator and what became of it. A failure aborts it, at once and without asking the other ranks.
class NcclHandle {
 public:
  explicit NcclHandle(std::chrono::milliseconds timeout) : timeout_(timeout) {}
  NcclHandle(const NcclHandle&) = delete;
  NcclHandle& operator=(const NcclHandle&) = delete;

  ~NcclHandle() {
    if (handle_ == nullptr) return;
    // Finalising is collective. Where an exception passes through the other ranks may be elsewhere.
    if (std::uncaught_exceptions() == exceptions_) {
      ncclResult_t result = ncclCommFinalize(handle_);
      if (result == ncclInProgress) ends_within(timeout_, [&] { return (result = state()) != ncclInProgress; });
      if (result == ncclSuccess) {
        ncclCommDestroy(handle_);
        return;
      }
    }
    ncclCommAbort(handle_);
  }

  ncclComm_t get() const { return handle_; }
  ncclComm_t* address() { return &handle_; }
  std::chrono::milliseconds timeout() const { return timeout_; }
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }
  bool has_failed() const { return !failure_.empty(); }

  void check() const {
    if (has_failed()) {
      throw CommunicationError(fmt::format("the communicator is of no use after an earlier failure: {}", failure_));
    }
  }

  // NCCL calls return before they are done: the next may come, and the stream be waited for, once this has returned.
  void settle(ncclResult_t result, const Operation& operation) {
    if (result == ncclSuccess || result == ncclInProgress) {
      const bool ended = ends_within(operation.timeout, [&] { return (result = state()) != ncclInProgress; });
      if (!ended) fail_late(operation);
    }
    check_result(result, operation);
  }

  // Throws where the operation under way has failed, here or on another rank.
  void check_under_way(const Operation& operation) {
    check();
    if (const ncclResult_t result = state(); result != ncclInProgress) check_result(result, operation);
  }

  [[noreturn]] void fail_late(const Operation& operation) {
    const double seconds = std::chrono::duration<double>(operation.timeout).count();
    fail(fmt::format("{} did not end within {}: {}. See why on those ranks, or raise --comm-timeout.", operation.what,
                     duration_text(seconds), operation.absent()));
  }

  [[noreturn]] void fail(std::string failure) {
    failure_ = std::move(failure);
    if (handle_ != nullptr) ncclCommAbort(handle_);
    handle_ = nullptr;
    throw CommunicationError(failure_);
  }

 private:
  ncclResult_t state() const {
    ncclResult_t state = ncclInProgress;
    const ncclResult_t result = ncclCommGetAsyncError(handle_, &state);
    return result == ncclSuccess ? state : result;
  }

  void check_result(ncclResult_t result, const Operation& operation) {
    if (result == ncclSuccess) return;
    fail(fmt::format("{} failed: NCCL says \"{}\" ({})", operation.what, ncclGetErrorString(result),
                     ncclGetLastError(handle_)));
  }

  ncclComm_t handle_ = nullptr;
  std::chrono::milliseconds timeout_;
  std::string failure_;
  int exceptions_ = std::uncaught_exceptions();
};

class NcclWork final : public Work {
 public:
  NcclWork(NcclHandle& handle, Operation operation, std::vector<at::Tensor> tensors)
      : handle_(handle), operation_(std::move(operation)), tensors_(std::move(tensors)) {}

  // After an abort no kernel of NCCL touches the tensors any more, so they may go. So they may where the stream on
  // which they were made has joined the operation: what takes their memory there runs after it.
  ~NcclWork() override {
    if (ended_ || handle_.has_failed()) return;
    try {
      if (std::uncaught_exceptions() != exceptions_) handle_.fail(operation_.what + " was abandoned by an exception");
      if (!joined_) wait();
    } catch (const std::exception&) {
      // The handle keeps the failure: the next call on the communicator throws.
    }
  }

  // The end of the operation on `stream`.
  void record(const c10::cuda::CUDAStream& stream) { done_.record(stream); }

  bool test() override {
    if (ended_) return true;
    handle_.check_under_way(operation_);
    ended_ = done_.query();
    return ended_;
  }

  void wait() override {
    if (!ends_within(operation_.timeout, [this] { return test(); })) handle_.fail_late(operation_);
    order_stream();
  }

  void join_stream() override {
    if (!ended_) handle_.check_under_way(operation_);
    order_stream();
    joined_ = true;
  }

 private:
  void order_stream() { done_.block(c10::cuda::getCurrentCUDAStream(done_.device_index())); }

  NcclHandle& handle_;
  Operation operation_;
  std::vector<at::Tensor> tensors_;  // on the stream of the caller: they must stay until the end on NCCL's
  c10::cuda::CUDAEvent done_;
  int exceptions_ = std::uncaught_exceptions();
  bool joined_ = false;  // by a stream
  bool ended_ = false;
};

class NcclCommunicator final : public Communicator {
 public:
  // `owned_control` is `control` where that was made for this communicator, by `split`, and else null.
  NcclCommunicator(Communicator& control, std::unique_ptr<Communicator> owned_control,
                   std::chrono::milliseconds timeout)
      : owned_control_(std::move(owned_control)),
        control_(control),
        counters_(control.counters_beside()),
        device_(at::kCUDA, c10::cuda::current_device()),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device_.index())),
        handle_(timeout) {
    const ncclUniqueId id = exchange_id();
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    handle_.settle(ncclCommInitRankConfig(handle_.address(), size(), id, rank(), &config),
                   collective("initialisation"));
  }

  std::string_view name() const override { return "nccl"; }
  int rank() const override { return control_.rank(); }
  int size() const override { return control_.size(); }
  std::chrono::milliseconds timeout() const override { return handle_.timeout(); }
  void set_timeout(std::chrono::milliseconds timeout) override { handle_.set_timeout(timeout); }

  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor) override {
    check_tensor(tensor, device_, "all_reduce", name());
    return launch("all_reduce", {tensor}, [&] {
      return ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), tensor.numel(), nccl_type(tensor), ncclSum,
                           handle_.get(), stream_);
    });
  }

  std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& rows) override {
    check_divisible_rows(rows, size(), device_, "reduce_scatter", name());
    return launch("reduce_scatter", {rows}, [&] {
      return ncclReduceScatter(rows.data_ptr(), share_of(rows), rows.numel() / size(), nccl_type(rows), ncclSum,
                               handle_.get(), stream_);
    });
  }

  std::unique_ptr<Work> start_all_gather(const at::Tensor& rows) override {
    check_divisible_rows(rows, size(), device_, "all_gather", name());
    return launch("all_gather", {rows}, [&] {
      return ncclAllGather(share_of(rows), rows.data_ptr(), rows.numel() / size(), nccl_type(rows), handle_.get(),
                           stream_);
    });
  }

  void broadcast(const at::Tensor& tensor, int root) override {
    check_tensor(tensor, device_, "broadcast", name());
    check_root(root, size(), "broadcast");
    launch("broadcast", {tensor}, [&] {
      return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.numel(), nccl_type(tensor), root, handle_.get(),
                           stream_);
    })->wait();
  }

  at::Tensor all_gather(const at::Tensor& rows) override {
    check_rows(rows, device_, "all_gather", name());
    const TimeoutScope scope(control_, timeout());
    const std::vector<std::int64_t> row_counts = agreed_row_counts(control_.all_gather(describe_rows(rows)));
    std::vector<std::int64_t> shape = rows.sizes().vec();
    shape[0] = std::accumulate(row_counts.begin(), row_counts.end(), std::int64_t{0});
    const at::Tensor gathered = at::empty(shape, rows.options());
    // ncclAllGather wants equal shares. A broadcast from each rank takes any, and the group makes them one launch.
    launch("all_gather", {rows, gathered}, [&] {
      ncclResult_t result = ncclGroupStart();
      std::int64_t begin = 0;
      for (int root = 0; root < size() && is_well(result); ++root) {
        const at::Tensor place = gathered.narrow(0, begin, row_counts[root]);
        const void* from = root == rank() ? rows.data_ptr() : place.data_ptr();
        result = ncclBroadcast(from, place.data_ptr(), place.numel(), nccl_type(rows), root, handle_.get(), stream_);
        begin += row_counts[root];
      }
      const ncclResult_t end = ncclGroupEnd();
      return is_well(result) ? end : result;
    })->wait();
    return gathered;
  }

  void send(const at::Tensor& tensor, int to) override {
    check_tensor(tensor, device_, "send", name());
    check_peer(to, rank(), size(), "send");
    launch(exchange_with(fmt::format("send to rank {}", to), to), {tensor}, [&] {
      return ncclSend(tensor.data_ptr(), tensor.numel(), nccl_type(tensor), to, handle_.get(), stream_);
    })->wait();
  }

  void receive(const at::Tensor& tensor, int from) override {
    check_tensor(tensor, device_, "receive", name());
    check_peer(from, rank(), size(), "receive");
    launch(exchange_with(fmt::format("receive from rank {}", from), from), {tensor}, [&] {
      return ncclRecv(tensor.data_ptr(), tensor.numel(), nccl_type(tensor), from, handle_.get(), stream_);
    })->wait();
  }

  // NCCL has none. A sum of one element also waits for what is queued before it on the ranks' streams.
  void barrier() override {
    const at::Tensor one = at::ones({1}, at::TensorOptions(device_).dtype(at::kInt));
    launch("barrier", {one}, [&] {
      return ncclAllReduce(one.data_ptr(), one.data_ptr(), 1, ncclInt32, ncclSum, handle_.get(), stream_);
    })->wait();
  }

  // Each part needs a control communicator over its own ranks, and owns it.
  std::unique_ptr<Communicator> split(int colour) override {
    handle_.check();
    const c10::cuda::CUDAGuard guard(device_);
    const TimeoutScope scope(control_, timeout());
    std::unique_ptr<Communicator> part = control_.split(colour);
    Communicator& control = *part;
    return std::make_unique<NcclCommunicator>(control, std::move(part), handle_.timeout());
  }

  RankCounters& counters_beside() override { return control_.counters_beside(); }

 private:
  // NCCL works in place where a rank's own share is where it has to be in the whole.
  void* share_of(const at::Tensor& rows) const {
    return static_cast<char*>(rows.data_ptr()) + rows.nbytes() / size() * rank();
  }

  static bool is_well(ncclResult_t result) { return result == ncclSuccess || result == ncclInProgress; }

  // Rank 0 makes the id. Its last byte says whether that went well, for the others must not wait for it in vain.
  ncclUniqueId exchange_id() {
    ncclUniqueId id{};
    const at::Tensor bytes = at::zeros({sizeof(id) + 1}, at::kByte);
    std::uint8_t* data = bytes.mutable_data_ptr<std::uint8_t>();
    if (rank() == 0) {
      data[sizeof(id)] = ncclGetUniqueId(&id) == ncclSuccess;
      std::memcpy(data, &id, sizeof(id));
    }
    control_.broadcast(bytes, 0);
    if (data[sizeof(id)] == 0) {
      throw CommunicationError(fmt::format("NCCL on rank 0 cannot make a unique id ({}). Check NCCL_SOCKET_IFNAME.",
                                           ncclGetLastError(nullptr)));
    }
    std::memcpy(&id, data, sizeof(id));
    return id;
  }

  Operation collective(std::string_view name) {
    const std::int64_t number = counters_.start();
    return {fmt::format("{} #{} over NCCL", name, number),
            [this, number] { return counters_.who_did_not_come(number); }, timeout()};
  }

  Operation exchange_with(std::string what, int peer) {
    return {std::move(what) + " over NCCL",
            [this, peer] { return fmt::format("this rank is at #{}, {}", counters_.last(), counters_.where_is(peer)); },
            timeout()};
  }

  template <class Call>
  std::unique_ptr<NcclWork> launch(std::string_view name, std::vector<at::Tensor> tensors, Call call) {
    handle_.check();
    return launch(collective(name), std::move(tensors), call);
  }

  // Runs `call` on NCCL's stream, after what the caller's stream has been given so far.
  template <class Call>
  std::unique_ptr<NcclWork> launch(Operation operation, std::vector<at::Tensor> tensors, Call call) {
    handle_.check();
    const c10::cuda::CUDAGuard guard(device_);
    c10::cuda::CUDAEvent ready;
    ready.record(c10::cuda::getCurrentCUDAStream(device_.index()));
    ready.block(stream_);
    handle_.settle(call(), operation);
    auto work = std::make_unique<NcclWork>(handle_, std::move(operation), std::move(tensors));
    work->record(stream_);
    return work;
  }

  std::unique_ptr<Communicator> owned_control_;
  Communicator& control_;
  RankCounters& counters_;
  at::Device device_;
  c10::cuda::CUDAStream stream_;
  NcclHandle handle_;  // last, so that it ends before its control communicator
};

}  // namespace

bool nccl_is_compiled_in() { return true; }

std::string nccl_version() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) return "";
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::vector<std::string> visible_gpus() {
  std::vector<std::string> names;
  for (int device = 0; device < c10::cuda::device_count(); ++device) {
    std::string& name = names.emplace_back();
    for (const char byte : at::cuda::getDeviceProperties(device)->uuid.bytes) {
      name += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    }
  }
  return names;
}

std::string gpu_bus_id(int device) {
  const cudaDeviceProp* properties = at::cuda::getDeviceProperties(device);
  return fmt::format("{:08x}:{:02x}:{:02x}.0", properties->pciDomainID, properties->pciBusID, properties->pciDeviceID);
}

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& control, std::chrono::milliseconds timeout) {
  // Summed, so that every rank stops where one has no GPU.
  const at::Tensor with_gpu = at::full({1}, c10::cuda::device_count() > 0 ? 1 : 0, at::kInt);
  control.all_reduce(with_gpu);
  if (const int count = with_gpu.item<int>(); count < control.size()) {
    throw UsageError(
        fmt::format("--backend nccl: expected a CUDA device on each of {} ranks, found one on {}. "
                    "Start as many ranks as GPUs, or use --backend mpi with --device cpu.",
                    control.size(), count));
  }
  return std::make_unique<NcclCommunicator>(control, nullptr, timeout);
}

}  // namespace dtrain::dist
