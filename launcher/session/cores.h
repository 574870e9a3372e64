#pragma once

#include <sched.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "dist/communicator.h"
#include "launcher/session/launch_variables.h"
#include "launcher/session/placement.h"

namespace dtrain::launcher {

/// sched_getaffinity(2), or a test's own.
using AffinityCall = int (*)(pid_t, std::size_t, cpu_set_t*);

/// The CPUs that `process` (0: this one) may use, ascending, however many the machine has. Empty where the kernel does
/// not tell.
std::vector<int> allowed_cpus(pid_t process, AffinityCall call = sched_getaffinity);

/// Lets the calling thread, and those it starts from now on, use these CPUs alone. False where the kernel refuses.
bool restrict_to_cpus(const std::vector<int>& cpus);

/// Whether mpirun has bound this rank as it does by itself: the user asked for no binding.
bool is_bound_by_default(const Variables& variables);

/// mpirun, or its daemon on this node: `process` or the nearest of its ancestors; 0: none of them. `proc`: proc(5).
pid_t launcher_from(pid_t process, const std::string& proc = "/proc");

/// The equal part of `cores` that goes to one of the ranks that share them, in order; empty where there are fewer cores
/// than ranks.
std::vector<int> share_of_cores(const std::vector<int>& cores, Place place);

/// Undoes mpirun's binding of a rank to one core, which it does for one and two ranks whatever the machine has: the
/// rank takes its share of mpirun's own cores. For the time before any library is initialised (before_libraries.cpp),
/// because libgomp counts the cores once, then: with one core for two threads, threads that wait would sleep at once.
/// Uses nothing that needs to be initialised.
void undo_default_binding(const Variables& variables);

/// What a rank has of its node's cores.
struct Cores {
  int usable = 1;  // as its user has them, before ranks share them
  int threads = 1;
  std::vector<int> shared = {};  // these, which the ranks of the node that were given the same ones share out
};

/// While it lives, the calling thread and those that it starts may use all the cores that ranks share: for what one of
/// them does while the others wait for it.
class [[nodiscard]] CoresOfAll {
 public:
  explicit CoresOfAll(const Cores& cores) : before_(allowed_cpus(0)) { restrict_to_cpus(cores.shared); }
  ~CoresOfAll() { restrict_to_cpus(before_); }
  CoresOfAll(const CoresOfAll&) = delete;
  CoresOfAll& operator=(const CoresOfAll&) = delete;

 private:
  std::vector<int> before_;
};

/// Shares the cores among the ranks of this node that were given the same ones, and starts as many threads: `threads`,
/// or where that is 0 one a core. `node` is the lowest rank on this node. Collective.
Cores take_cores(dist::Communicator& control, int node, int threads);

}  // namespace dtrain::launcher
