#include "launcher/session.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "dist/mpi/mpi_communicator.h"
#include "dist/nccl/nccl_communicator.h"
#include "launcher/output_directory.h"
#include "launcher/placement.h"
#include "launcher/terminal_log.h"

namespace dtrain::launcher {
namespace {

// A signal handler can reach nothing but a global.
volatile std::sig_atomic_t stop_signal = 0;
void note_stop(int signal) { stop_signal = signal; }

constexpr int kStopped = 75;

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

// mpirun, or its daemon on this node; 0: neither is an ancestor.
pid_t launcher_process() {
  for (pid_t process = getppid(); process > 1;) {
    std::string name;
    std::ifstream(fmt::format("/proc/{}/comm", process)) >> name;
    for (const char* launcher : {"mpirun", "orterun", "mpiexec", "orted", "prterun", "prted"}) {
      if (name == launcher) return process;
    }
    // proc(5): the parent follows the name, which may hold anything, in brackets, and the state.
    std::ifstream file(fmt::format("/proc/{}/stat", process));
    std::string line;
    std::getline(file, line);
    char state = 0;
    process = 0;
    std::istringstream(line.substr(std::min(line.size(), line.rfind(')') + 1))) >> state >> process;
  }
  return 0;
}

// mpirun's options become variables of the ranks: --bind-to, --cpu-set, --map-by with cores for each rank.
bool user_asked_for_binding() {
  const char* mapping = std::getenv("OMPI_MCA_rmaps_base_mapping_policy");
  return std::getenv("OMPI_MCA_hwloc_base_binding_policy") != nullptr ||
         std::getenv("OMPI_MCA_hwloc_base_cpu_set") != nullptr ||
         (mapping != nullptr && strcasestr(mapping, "pe=") != nullptr);
}

// The cores that this process may use as its user has it. mpirun by itself binds each of two ranks to one core,
// whatever the machine has; where it did, they are the cores of mpirun.
std::vector<int> usable_cores() {
  cpu_set_t set;
  const bool bound = std::getenv("OMPI_MCA_orte_bound_at_launch") != nullptr;
  const pid_t of = bound && !user_asked_for_binding() ? launcher_process() : 0;
  if (sched_getaffinity(of, sizeof set, &set) != 0) sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

// The first "option = value" of `lines` that `others` lacks.
std::string first_line_not_in(const std::string& others, const std::string& lines) {
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) {
    if (others.find("\n" + line + "\n") == std::string::npos && !others.starts_with(line + "\n")) return line;
  }
  return "fewer options";
}

// How many times as fast as in fp32 a product as the encoder has them is in bf16: the best of a few of each, in turn,
// because another process may take the cores for a while.
double bf16_gain() {
  const auto seconds = [](at::ScalarType type) {
    const auto left = at::randn({512, 384}).to(type);
    const auto right = at::randn({384, 1536}).to(type);
    const auto begin = std::chrono::steady_clock::now();
    at::mm(left, right);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  double fp32 = 1e9;
  double bf16 = 1e9;
  for (int i = 0; i < 10; ++i) {
    fp32 = std::min(fp32, seconds(at::kFloat));
    bf16 = std::min(bf16, seconds(at::kBFloat16));
  }
  return fp32 / bf16;
}

// The precision that a run wrote into its config.ini; empty where there is none.
std::string precision_of_run(const std::filesystem::path& output) {
  std::ifstream config(output / "config.ini");
  constexpr std::string_view kKey = "precision = ";
  for (std::string line; std::getline(config, line);) {
    if (line.starts_with(kKey)) return line.substr(kKey.size());
  }
  return "";
}

}  // namespace

std::optional<std::string> launched_rank() {
  for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (const char* rank = std::getenv(variable); rank != nullptr) return rank;
  }
  return std::nullopt;
}

MpiEnvironment::MpiEnvironment(int* argc, char*** argv) {
  // A single process must start where OpenMPI's daemon is missing, too.
  if (!launched_rank()) setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  int provided = 0;
  MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided);
  if (provided < MPI_THREAD_SERIALIZED) {
    print_error("this MPI library serves one thread alone; expected MPI_THREAD_SERIALIZED");
    MPI_Abort(MPI_COMM_WORLD, 4);
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  // A file that outgrows a limit is an error of that write, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
}

MpiEnvironment::~MpiEnvironment() { MPI_Finalize(); }

int MpiEnvironment::agree_on_end(int exit_code, const std::string& message) const {
  using Clock = std::chrono::steady_clock;
  // The lowest rank that failed, and its code.
  const int mine = exit_code == 0 ? size_ : rank_;
  int first_failed = size_;
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Iallreduce(&mine, &first_failed, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD, &request);
  const auto deadline = Clock::now() + std::chrono::seconds(exit_code == 0 ? 86400 : 3);
  int done = 0;
  while (done == 0 && Clock::now() < deadline) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::string who = size_ > 1 && (done == 0 || first_failed != 0) ? fmt::format("rank {}: ", rank_) : "";
  if (exit_code != 0 && (done == 0 || first_failed == rank_)) {
    if (exit_code == kStopped) print_notice(message);
    if (exit_code != kStopped) print_error(who + message);
  }
  // Some ranks still wait for this one in a collective.
  if (done == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
  if (first_failed < size_) MPI_Bcast(&exit_code, 1, MPI_INT, first_failed, MPI_COMM_WORLD);
  return exit_code;
}

Session::Session(const MpiEnvironment& environment, const Options& options) : log_(terminal_log(environment.rank())) {
  // These end at a step with a checkpoint; the other commands have nothing to save and end at once.
  if (options.command == "train" || options.command == "compare") {
    std::signal(SIGTERM, note_stop);
    std::signal(SIGUSR1, note_stop);
  }
  // srun alone sets it, and mpirun may itself run in a step. A batch script has SLURM_NTASKS, too, but is one process.
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  if (tasks != nullptr && std::getenv("OMPI_COMM_WORLD_RANK") == nullptr) {
    if (std::atoi(tasks) != environment.size()) {
      throw UsageError(fmt::format(
          "SLURM started {} tasks, but MPI sees {} ranks: srun and OpenMPI do not speak the same PMI. Use srun "
          "--mpi=pmix, or mpirun inside the job.",
          tasks, environment.size()));
    }
  }
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_size(node, &local_size_);
  node_ = environment.rank();
  MPI_Bcast(&node_, 1, MPI_INT, 0, node);
  MPI_Comm_free(&node);

  control_ = environment.size() > 1 ? dist::make_mpi_communicator(MPI_COMM_WORLD, milliseconds(options.comm_timeout))
                                    : dist::make_single_communicator();
  check_agreement(options);
  place_on_cores(options);
  choose_device(options);
  choose_precision(options);
  choose_backend(options);
}

void Session::choose_backend(const Options& options) {
  const auto timeout = milliseconds(options.comm_timeout);
  const int size = control_->size();
  const std::string automatic = size == 1 ? "single" : device_.is_cuda() ? "nccl" : "mpi";
  const std::string backend = options.backend == "auto" ? automatic : options.backend;
  if (backend == "single" && size > 1)
    throw UsageError(fmt::format("--backend single serves one rank, there are {}", size));
  if (backend == "mpi" && device_.is_cuda())
    throw UsageError("--backend mpi serves the CPU: a device pointer never goes into MPI. Use nccl.");
  if (backend == "nccl" && !device_.is_cuda())
    throw UsageError("--backend nccl serves GPUs, and this run is on the CPU");
  if (backend == "single") gradients_ = dist::make_single_communicator();
  if (backend == "mpi") gradients_ = dist::make_mpi_communicator(MPI_COMM_WORLD, timeout);
  if (backend == "nccl") gradients_ = dist::make_nccl_communicator(*control_, timeout);
}

std::vector<std::string> Session::gather_texts(const std::string& mine) const {
  const auto bytes = at::empty({static_cast<std::int64_t>(mine.size())}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), mine.data(), mine.size());
  const auto sizes = control_->all_gather(at::tensor({static_cast<std::int64_t>(mine.size())}, at::kLong));
  const auto all = control_->all_gather(bytes);
  std::vector<std::string> texts;
  const char* next = static_cast<const char*>(all.const_data_ptr());
  for (std::int64_t rank = 0; rank < sizes.size(0); ++rank) {
    const auto size = static_cast<std::size_t>(sizes[rank].item<std::int64_t>());
    texts.emplace_back(next, size);
    next += size;
  }
  return texts;
}

void Session::check_agreement(const Options& options) const {
  const auto texts = gather_texts(fmt::format("command = {}\n{}resume = {}\noverwrite = {}\n", options.command,
                                              options.resolved, options.resume, options.overwrite));
  for (std::size_t rank = 1; rank < texts.size(); ++rank) {
    if (texts[rank] == texts[0]) continue;
    throw UsageError(
        fmt::format("the ranks were started with different options: {} on rank 0, {} on rank {}. Start all ranks with "
                    "the same command line, DTRAIN_ variables and --config.",
                    first_line_not_in(texts[rank], texts[0]), first_line_not_in(texts[0], texts[rank]), rank));
  }
}

void Session::place_on_cores(const Options& options) {
  const auto cores = usable_cores();
  const Place place =
      place_among_equals(gather_texts(fmt::format("{}: {}", node_, fmt::join(cores, ","))), control_->rank());
  cores_ = static_cast<int>(cores.size());
  const int share = std::max(1, cores_ / place.count);
  // Some of LibTorch's and oneDNN's sums depend on the number of threads. With virtual ranks a shard is computed by as
  // many whatever the number of ranks and of cores.
  const int chosen = options.training.virtual_ranks > 0 ? 1 : share;
  threads_ = options.threads > 0 ? options.threads : chosen;
  at::set_num_threads(threads_);
  if (cores_ < place.count) return;
  cpu_set_t mine;
  CPU_ZERO(&mine);
  for (int i = 0; i < share; ++i) CPU_SET(cores[static_cast<std::size_t>(place.index * share + i)], &mine);
  sched_setaffinity(0, sizeof mine, &mine);
}

void Session::choose_device(const Options& options) {
  const auto gpus = options.device == "cpu" ? std::vector<std::string>() : dist::visible_gpus();
  if (options.device == "cuda" && gpus.empty()) throw UsageError("--device cuda: no GPU is visible here");
  const auto texts = gather_texts(fmt::format("{}: {}", node_, fmt::join(gpus, ",")));
  const auto sees_none = [](const std::string& text) { return text.ends_with(": "); };
  if (std::all_of(texts.begin(), texts.end(), sees_none)) return;
  if (const auto blind = std::find_if(texts.begin(), texts.end(), sees_none); blind != texts.end()) {
    throw UsageError(fmt::format("rank {} sees no GPU, others do; use --device cpu, or nodes that are alike",
                                 blind - texts.begin()));
  }
  const Place place = place_among_equals(texts, control_->rank());
  const int count = static_cast<int>(gpus.size());
  if (place.count > count && std::getenv("NCCL_MULTI_RANK_GPU_ENABLE") == nullptr) {
    throw UsageError(fmt::format("{} ranks on this node, but {} GPU{}: start one rank a GPU, or use --device cpu",
                                 place.count, count, count == 1 ? "" : "s"));
  }
  device_ = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(place.index % count));
  device_guard_.emplace(device_);
}

void Session::choose_precision(const Options& options) {
  // "fp32" means it: cuDNN's LSTM (p-tuning's) would take TF32.
  at::globalContext().setAllowTF32CuDNN(false);
  precision_ = options.precision;
  precision_reason_ = "as asked";
  if (precision_ == "auto" && options.resume) {
    // A run goes on as it began, whatever is faster this time.
    const auto run = options.command == "compare" ? study_output(options, {}) : std::filesystem::path(options.output);
    const std::string found = control_->rank() == 0 ? precision_of_run(run) : "";
    const auto earlier = at::tensor({found == "bf16" ? 1 : found == "fp32" ? 0 : -1}, at::kInt);
    control_->broadcast(earlier, 0);
    if (earlier.item<int>() >= 0) precision_ = earlier.item<int>() == 1 ? "bf16" : "fp32";
    precision_reason_ = "as before";
  }
  if (precision_ == "auto" && device_.is_cuda()) {
    precision_ = "bf16";
    precision_reason_ = "the default on GPUs";
  }
  if (precision_ == "auto") {
    // Every rank must choose alike: the first decides.
    const auto gain = at::tensor({bf16_gain()}, at::kDouble);
    control_->broadcast(gain, 0);
    precision_ = gain[0].item<double>() > 1.2 ? "bf16" : "fp32";
    precision_reason_ = fmt::format("bf16 measured {:.1f}x as fast as fp32", gain[0].item<double>());
  }
  product_type_ = precision_ == "bf16" ? at::kBFloat16 : at::kFloat;
}

train::RunContext Session::context() const {
  return {.control = *control_,
          .gradients = *gradients_,
          .device = device_,
          .matmul_type = product_type_,
          .log = log_,
          .stop_requested = [] { return stop_signal != 0; },
          .end_if_stopped =
              [] {
                if (stop_signal != 0) throw Stopped("stopped by a signal outside of a training step");
              }};
}

std::string Session::description() const {
  const int ranks = control_->size();
  const auto counted = [](int count, const char* noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
  };
  return fmt::format("{} (back end {}) on {}, {} each on {}, {} matmuls ({})", counted(ranks, "rank"),
                     gradients_->name(), device_.is_cuda() ? ranks == 1 ? "one GPU" : "GPUs" : "the CPU",
                     counted(threads_, "thread"), counted(cores_, "core"), precision_, precision_reason_);
}

}  // namespace dtrain::launcher
