#include "launcher/session/cores.h"

#include <ATen/Parallel.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "launcher/session/agreement.h"

namespace dtrain::launcher {
namespace {

struct FreeCpuSet {
  void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};
using CpuSet = std::unique_ptr<cpu_set_t, FreeCpuSet>;

constexpr std::size_t kMostCpus = std::size_t{1} << 20;

// The first bytes of a file of proc(5). No stream: libstdc++ may not be initialised yet.
std::string beginning_of(const std::string& path) {
  std::array<char, 512> text{};
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return "";
  const ssize_t size = read(file, text.data(), text.size());
  close(file);
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

// Name and parent of a process. proc(5): "PID (NAME) STATE PARENT ...", where the name may hold anything.
struct Process {
  std::string name;
  pid_t parent = 0;
};

Process process_of(pid_t id, const std::string& proc) {
  const std::string line = beginning_of(proc + "/" + std::to_string(id) + "/stat");
  const std::size_t begin = line.find('(');
  const std::size_t end = line.rfind(')');
  if (begin == std::string::npos || end == std::string::npos || end + 4 >= line.size()) return {};
  return {line.substr(begin + 1, end - begin - 1),
          static_cast<pid_t>(std::strtol(line.c_str() + end + 4, nullptr, 10))};
}

std::vector<int> usable_cores(const Variables& variables) {
  const pid_t launcher = is_bound_by_default(variables) ? launcher_from(getppid()) : 0;
  const auto cores = allowed_cpus(launcher);
  return cores.empty() ? allowed_cpus(0) : cores;
}

}  // namespace

std::vector<int> allowed_cpus(pid_t process, AffinityCall call) {
  // The kernel refuses a set with room for fewer CPUs than it has.
  for (std::size_t most = CPU_SETSIZE; most <= kMostCpus; most *= 2) {
    const CpuSet set(CPU_ALLOC(most));
    const std::size_t bytes = CPU_ALLOC_SIZE(most);
    CPU_ZERO_S(bytes, set.get());
    if (call(process, bytes, set.get()) != 0) {
      if (errno == EINVAL) continue;
      return {};
    }
    std::vector<int> cpus;
    for (std::size_t cpu = 0; cpu < most; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set.get())) cpus.push_back(static_cast<int>(cpu));
    }
    return cpus;
  }
  return {};
}

bool restrict_to_cpus(const std::vector<int>& cpus) {
  if (cpus.empty()) return false;
  const auto most = static_cast<std::size_t>(*std::max_element(cpus.begin(), cpus.end())) + 1;
  const CpuSet set(CPU_ALLOC(most));
  const std::size_t bytes = CPU_ALLOC_SIZE(most);
  CPU_ZERO_S(bytes, set.get());
  for (const int cpu : cpus) CPU_SET_S(static_cast<std::size_t>(cpu), bytes, set.get());
  return sched_setaffinity(0, bytes, set.get()) == 0;
}

bool is_bound_by_default(const Variables& variables) {
  if (variables("OMPI_MCA_orte_bound_at_launch") == nullptr) return false;
  // mpirun's options become variables of the ranks: --bind-to, --cpu-set, --map-by with cores for each rank.
  const char* mapping = variables("OMPI_MCA_rmaps_base_mapping_policy");
  return variables("OMPI_MCA_hwloc_base_binding_policy") == nullptr &&
         variables("OMPI_MCA_hwloc_base_cpu_set") == nullptr &&
         (mapping == nullptr || strcasestr(mapping, "pe=") == nullptr);
}

pid_t launcher_from(pid_t process, const std::string& proc) {
  while (process > 1) {
    const Process found = process_of(process, proc);
    for (const char* launcher : {"mpirun", "orterun", "mpiexec", "orted", "prterun", "prted"}) {
      if (found.name == launcher) return process;
    }
    process = found.parent;
  }
  return 0;
}

std::vector<int> share_of_cores(const std::vector<int>& cores, Place place) {
  const int share = place.count > 0 ? static_cast<int>(cores.size()) / place.count : 0;
  if (share == 0 || place.index < 0 || place.index >= place.count) return {};
  const auto begin = cores.begin() + place.index * share;
  return {begin, begin + share};
}

void undo_default_binding(const Variables& variables) {
  if (!is_bound_by_default(variables)) return;
  const char* rank = variables("OMPI_COMM_WORLD_LOCAL_RANK");
  const char* size = variables("OMPI_COMM_WORLD_LOCAL_SIZE");
  const pid_t launcher = launcher_from(getppid());
  if (rank == nullptr || size == nullptr || launcher == 0) return;
  const Place place{static_cast<int>(std::strtol(rank, nullptr, 10)), static_cast<int>(std::strtol(size, nullptr, 10))};
  // Where that is refused, mpirun's binding stays, and take_cores sees it.
  restrict_to_cpus(share_of_cores(allowed_cpus(launcher), place));
}

Cores take_cores(dist::Communicator& control, int node, int threads) {
  const auto cores = usable_cores(process_environment());
  const Place place =
      place_among_equals(gather_texts(control, fmt::format("{}: {}", node, fmt::join(cores, ","))), control.rank());
  const auto mine = share_of_cores(cores, place);
  Cores taken{static_cast<int>(cores.size()), threads > 0 ? threads : std::max(1, static_cast<int>(mine.size())),
              cores};
  at::set_num_threads(taken.threads);
  restrict_to_cpus(mine);
  return taken;
}

}  // namespace dtrain::launcher
