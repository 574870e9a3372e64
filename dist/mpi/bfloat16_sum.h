#pragma once

#include <mpi.h>

namespace dtrain::dist {

/// MPI_SUM of bfloat16, for which MPI has neither a type nor an operation: over MPI_UINT16_T, as float, each sum
/// rounded to nearest, ties to even. It commutes to the bit, so that MPI may take its usual algorithms, in which ranks
/// that make the same sum from either side make the same bytes.
class BFloat16Sum {
 public:
  /// MPI must be initialised.
  BFloat16Sum();
  ~BFloat16Sum();
  BFloat16Sum(const BFloat16Sum&) = delete;
  BFloat16Sum& operator=(const BFloat16Sum&) = delete;

  MPI_Op get() const { return operation_; }
  /// Leaves the operation to the end of the process: a collective that makes the sum may still be under way.
  void leave() { operation_ = MPI_OP_NULL; }

 private:
  MPI_Op operation_ = MPI_OP_NULL;
};

}  // namespace dtrain::dist
