#pragma once

#include "launcher/options.h"
#include "launcher/session/session.h"
#include "model/encoder_config.h"
#include "train/run_context.h"

namespace dtrain::launcher {

/// The session's context, with how fast the ranks' matmuls of that model are, measured now, which is said. Collective.
train::RunContext measured_context(const Options& options, const Session& session, const model::EncoderConfig& config);

}  // namespace dtrain::launcher
