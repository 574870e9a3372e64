#pragma once

#include <chrono>
#include <string>

#include "launcher/session/launch_variables.h"

namespace dtrain::launcher {

/// MPI from its initialisation to its end: every process makes one, first of all.
class MpiEnvironment {
 public:
  MpiEnvironment(int* argc, char*** argv);
  /// Ends the job with exit code 5 where a rank does not come to its end within a minute.
  ~MpiEnvironment();
  MpiEnvironment(const MpiEnvironment&) = delete;
  MpiEnvironment& operator=(const MpiEnvironment&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// The environment before MPI began: a process that it takes for a single one finds MPI's own words there afterwards.
  const Variables& variables_before() const { return variables_before_; }

  /// Every rank ends here with its own outcome (exit code 0 and no message where all went well). Where all come, the
  /// first that failed prints; where some do not come in time, whoever failed prints and ends the job. After a failed
  /// collective on any rank (exit code 5) the job is ended as well: what is under way cannot be finalised. Returns the
  /// exit code of the process.
  int agree_on_end(int exit_code, const std::string& message) const;

 private:
  Variables variables_before_ = copied_environment();
  int rank_ = 0;
  int size_ = 1;
};

/// The ranks that run on the node of this one.
struct Node {
  int lowest_rank = 0;
  int size = 1;
};

/// Collective over all ranks. Throws CommunicationError where they do not come within `timeout`.
Node node_of_this_rank(std::chrono::milliseconds timeout);

}  // namespace dtrain::launcher
