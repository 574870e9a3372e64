#pragma once

#include "launcher/options.h"
#include "launcher/session/session.h"

namespace dtrain::launcher {

/// The kinds of `dtrain bench`. All are collective.

/// Matmuls of the model's sizes.
void bench_gemm(const Options& options, const Session& session);
/// A training step.
void bench_step(const Options& options, const Session& session);
/// The scoring of examples: forward alone.
void bench_forward(const Options& options, const Session& session);
/// All-reduce, and what a sharded optimiser has in its place.
void bench_allreduce(const Options& options, const Session& session);
/// The gradient's norm, and how far it is from the sum in double; on the CPU dtrain's beside LibTorch's.
void bench_norm(const Options& options, const Session& session);
/// Training steps on parts of the ranks, for the same work (strong scaling) and for as much a rank (weak scaling).
void bench_scaling(const Options& options, const Session& session);

}  // namespace dtrain::launcher
