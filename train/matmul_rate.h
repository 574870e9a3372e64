#pragma once

#include "model/encoder_config.h"
#include "train/run_context.h"

namespace dtrain::train {

/// Floating-point operations a second of a rank's matmuls while every rank of the context multiplies: of the best of
/// the encoder's sizes with the tokens of a batch, in the context's type. The mean over the ranks, the same on each.
/// Collective; takes about a fifth of a second.
double measure_matmul_rate(const model::EncoderConfig& config, std::int64_t batch_size, const RunContext& context);

/// `flop` over what the context's ranks multiply in `seconds` at that rate; NaN where it was not measured.
double rate_share(double flop, double seconds, const RunContext& context);

}  // namespace dtrain::train
