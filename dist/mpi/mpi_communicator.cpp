#include "dist/mpi/mpi_communicator.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <numeric>

#include "base/error.h"
#include "dist/mpi/bfloat16_sum.h"
#include "dist/mpi/mpi_work.h"
#include "dist/mpi/node_counters.h"
#include "dist/tensor_checks.h"

namespace dtrain::dist {

namespace {

MPI_Datatype mpi_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kByte:
      return MPI_UINT8_T;
    case at::kInt:
      return MPI_INT32_T;
    case at::kLong:
      return MPI_INT64_T;
    case at::kFloat:
      return MPI_FLOAT;
    case at::kBFloat16:
      return MPI_UINT16_T;  // MPI has none, and moves two bytes as well; sums are another matter
    default:
      return MPI_DOUBLE;  // check_tensor has refused the others
  }
}

struct Piece {
  std::int64_t begin;
  int count;
};

// MPI counts in int. No elements are one empty piece: the ranks meet in it all the same.
std::vector<Piece> pieces(std::int64_t elements, std::int64_t limit) {
  std::vector<Piece> result{{0, static_cast<int>(std::min(elements, limit))}};
  for (std::int64_t begin = limit; begin < elements; begin += limit) {
    result.push_back({begin, static_cast<int>(std::min(elements - begin, limit))});
  }
  return result;
}

char* address(const at::Tensor& tensor, std::int64_t element = 0) {
  return static_cast<char*>(tensor.data_ptr()) + element * tensor.element_size();
}

class MpiCommunicator final : public Communicator {
 public:
  // Takes `communicator`, whose ranks are known to have come.
  MpiCommunicator(MPI_Comm communicator, std::chrono::milliseconds timeout, std::int64_t piece_elements)
      : communicator_(communicator),
        piece_elements_(piece_elements),
        state_{timeout, nullptr, ""},
        counters_(communicator, timeout) {
    state_.counters = &counters_.own();
    MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(communicator_, &rank_);
    MPI_Comm_size(communicator_, &size_);
  }

  // Where collectives may still be under way the handles are left to the end of the process.
  ~MpiCommunicator() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized && state_.failure.empty() && std::uncaught_exceptions() == exceptions_) {
      MPI_Comm_free(&communicator_);
    } else {
      bfloat16_sum_.leave();
    }
  }

  std::string_view name() const override { return "mpi"; }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::chrono::milliseconds timeout() const override { return state_.timeout; }
  void set_timeout(std::chrono::milliseconds timeout) override { state_.timeout = timeout; }

  std::unique_ptr<Work> start_all_reduce(const at::Tensor& tensor) override {
    check_tensor(tensor, at::kCPU, "all_reduce", name());
    auto work = collective("all_reduce", {tensor});
    start_sum(*work, tensor);
    return work;
  }

  std::unique_ptr<Work> start_reduce_scatter(const at::Tensor& rows) override {
    check_divisible_rows(rows, size_, at::kCPU, "reduce_scatter", name());
    // OpenMPI's own non-blocking one reduces to a root, and takes twice the time of the whole all-reduce.
    auto work = collective("reduce_scatter", {rows});
    start_sum(*work, rows);
    return work;
  }

  std::unique_ptr<Work> start_all_gather(const at::Tensor& rows) override {
    check_divisible_rows(rows, size_, at::kCPU, "all_gather", name());
    const at::Tensor shares = rows.view({size_, rows.numel() / size_});
    auto work = collective("all_gather", {rows});
    if (rows.numel() <= piece_elements_) {
      const int count = static_cast<int>(shares.size(1));
      work->start([&](MPI_Request* request) {
        return MPI_Iallgather(MPI_IN_PLACE, 0, mpi_type(rows), address(rows), count, mpi_type(rows), communicator_,
                              request);
      });
    } else {
      // A piece of every share is no contiguous part of the tensor.
      for (int root = 0; root < size_; ++root) start_broadcast(*work, shares[root], root);
    }
    return work;
  }

  void broadcast(const at::Tensor& tensor, int root) override {
    check_tensor(tensor, at::kCPU, "broadcast", name());
    check_root(root, size_, "broadcast");
    auto work = collective("broadcast", {tensor});
    start_broadcast(*work, tensor, root);
    work->wait();
  }

  at::Tensor all_gather(const at::Tensor& rows) override {
    check_rows(rows, at::kCPU, "all_gather", name());
    const at::Tensor mine = describe_rows(rows);
    const at::Tensor all = at::empty({size_, mine.numel()}, mine.options());
    auto exchange = collective("all_gather", {mine, all});
    exchange->start([&](MPI_Request* request) {
      const int count = static_cast<int>(mine.numel());
      return MPI_Iallgather(address(mine), count, MPI_INT64_T, address(all), count, MPI_INT64_T, communicator_,
                            request);
    });
    exchange->wait();

    const std::vector<std::int64_t> row_counts = agreed_row_counts(all);
    std::vector<std::int64_t> shape = rows.sizes().vec();
    shape[0] = std::accumulate(row_counts.begin(), row_counts.end(), std::int64_t{0});
    const at::Tensor gathered = at::empty(shape, rows.options());
    auto work = operation(what("all_gather"), absent_from(counters_.own().last()), {rows, gathered});
    if (gathered.numel() <= piece_elements_) {
      start_gather(*work, rows, gathered, row_counts);
    } else {
      // MPI_Iallgatherv cannot address so many elements.
      std::int64_t begin = 0;
      for (int root = 0; root < size_; ++root) {
        const at::Tensor place = gathered.narrow(0, begin, row_counts[root]);
        if (root == rank_) place.copy_(rows);
        start_broadcast(*work, place, root);
        begin += row_counts[root];
      }
    }
    work->wait();
    return gathered;
  }

  void send(const at::Tensor& tensor, int to) override {
    check_tensor(tensor, at::kCPU, "send", name());
    check_peer(to, rank_, size_, "send");
    auto work = operation(fmt::format("send to rank {}", to), position_of(to), {tensor});
    for (const Piece piece : pieces(tensor.numel(), piece_elements_)) {
      work->start([&](MPI_Request* request) {
        return MPI_Isend(address(tensor, piece.begin), piece.count, mpi_type(tensor), to, 0, communicator_, request);
      });
    }
    work->wait();
  }

  void receive(const at::Tensor& tensor, int from) override {
    check_tensor(tensor, at::kCPU, "receive", name());
    check_peer(from, rank_, size_, "receive");
    auto work = operation(fmt::format("receive from rank {}", from), position_of(from), {tensor});
    for (const Piece piece : pieces(tensor.numel(), piece_elements_)) {
      work->start([&](MPI_Request* request) {
        return MPI_Irecv(address(tensor, piece.begin), piece.count, mpi_type(tensor), from, 0, communicator_, request);
      });
    }
    work->wait();
    if (const std::int64_t received = work->received(mpi_type(tensor)); received != tensor.numel()) {
      state_.failure =
          fmt::format("receive from rank {}: expected {} elements, found {}", from, tensor.numel(), received);
      state_.check();
    }
  }

  void barrier() override { start_barrier("barrier")->wait(); }

  std::unique_ptr<Communicator> split(int colour) override {
    check_colour(colour);
    start_barrier("split")->wait();  // MPI_Comm_split cannot be polled: all ranks must have come
    MPI_Comm part = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split(communicator_, colour, rank_, &part), "split");
    return std::make_unique<MpiCommunicator>(part, state_.timeout, piece_elements_);
  }

  RankCounters& counters_beside() override { return counters_.beside(); }

 private:
  using Absent = std::function<std::string()>;

  std::unique_ptr<MpiWork> operation(std::string what, Absent absent, std::vector<at::Tensor> tensors) {
    state_.check();
    return std::make_unique<MpiWork>(state_, std::move(what), std::move(absent), std::move(tensors));
  }

  std::unique_ptr<MpiWork> collective(std::string_view name, std::vector<at::Tensor> tensors) {
    state_.check();
    const std::int64_t number = counters_.own().start();
    return operation(what(name), absent_from(number), std::move(tensors));
  }

  std::string what(std::string_view name) { return fmt::format("{} #{}", name, counters_.own().last()); }

  Absent absent_from(std::int64_t number) {
    return [this, number] { return counters_.own().who_did_not_come(number); };
  }

  Absent position_of(int rank) {
    return [this, rank] {
      return fmt::format("this rank is at #{}, {}", counters_.own().last(), counters_.own().where_is(rank));
    };
  }

  std::unique_ptr<MpiWork> start_barrier(std::string_view name) {
    auto work = collective(name, {});
    work->start([&](MPI_Request* request) { return MPI_Ibarrier(communicator_, request); });
    return work;
  }

  void start_sum(MpiWork& work, const at::Tensor& tensor) {
    const MPI_Op sum = tensor.scalar_type() == at::kBFloat16 ? bfloat16_sum_.get() : MPI_SUM;
    for (const Piece piece : pieces(tensor.numel(), piece_elements_)) {
      work.start([&](MPI_Request* request) {
        return MPI_Iallreduce(MPI_IN_PLACE, address(tensor, piece.begin), piece.count, mpi_type(tensor), sum,
                              communicator_, request);
      });
    }
  }

  void start_broadcast(MpiWork& work, const at::Tensor& tensor, int root) {
    for (const Piece piece : pieces(tensor.numel(), piece_elements_)) {
      work.start([&](MPI_Request* request) {
        return MPI_Ibcast(address(tensor, piece.begin), piece.count, mpi_type(tensor), root, communicator_, request);
      });
    }
  }

  void start_gather(MpiWork& work, const at::Tensor& rows, const at::Tensor& gathered,
                    const std::vector<std::int64_t>& row_counts) {
    const std::int64_t row = gathered.numel() == 0 ? 0 : gathered.numel() / gathered.size(0);
    // MPI reads both until the operation ends, so they live in a tensor that it keeps.
    const at::Tensor layout = at::zeros({2, size_}, at::kInt);
    int* counts = layout.mutable_data_ptr<int>();
    int* begins = counts + size_;
    for (int i = 0; i < size_; ++i) {
      counts[i] = static_cast<int>(row_counts[i] * row);
      if (i > 0) begins[i] = begins[i - 1] + counts[i - 1];
    }
    work.keep(layout);
    work.start([&](MPI_Request* request) {
      return MPI_Iallgatherv(address(rows), counts[rank_], mpi_type(rows), address(gathered), counts, begins,
                             mpi_type(rows), communicator_, request);
    });
  }

  MPI_Comm communicator_;
  std::int64_t piece_elements_;
  MpiState state_;
  NodeCounters counters_;
  BFloat16Sum bfloat16_sum_;
  int rank_ = 0;
  int size_ = 1;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm parent, std::chrono::milliseconds timeout,
                                                    std::int64_t piece_elements) {
  // MPI reports the errors of non-blocking collectives to the handler of MPI_COMM_WORLD, which would end the process.
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  int size = 0;
  MPI_Comm_size(parent, &size);
  const MPI_Comm copy = duplicate(parent, fmt::format("making a communicator of {} ranks", size), timeout);
  return std::make_unique<MpiCommunicator>(copy, timeout, piece_elements);
}

}  // namespace dtrain::dist
