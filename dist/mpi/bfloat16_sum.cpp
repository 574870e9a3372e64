#include "dist/mpi/bfloat16_sum.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "dist/mpi/mpi_work.h"

namespace dtrain::dist {
namespace {

// MPI calls it inside of a rank's own calls, and so on the thread that makes them.
void add(void* terms, void* sums, int* count, MPI_Datatype*) {
  const at::NoGradGuard no_grad;
  const auto numbers = [&](void* first) { return at::from_blob(first, {*count}, at::kBFloat16); };
  numbers(sums).add_(numbers(terms));
}

}  // namespace

BFloat16Sum::BFloat16Sum() {
  constexpr int kCommutes = 1;
  check_mpi(MPI_Op_create(&add, kCommutes, &operation_), "making the sum of bfloat16");
}

BFloat16Sum::~BFloat16Sum() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized && operation_ != MPI_OP_NULL) MPI_Op_free(&operation_);
}

}  // namespace dtrain::dist
