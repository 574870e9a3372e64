#include "launcher/measured_context.h"

#include <fmt/format.h>

#include "train/matmul_rate.h"

namespace dtrain::launcher {

train::RunContext measured_context(const Options& options, const Session& session, const model::EncoderConfig& config) {
  train::RunContext context = session.context();
  context.matmul_rate = train::measure_matmul_rate(config, options.training.batch_size, context);
  session.log().line(fmt::format("matmuls of the model's sizes: {}/s a rank", flop_text(context.matmul_rate)));
  return context;
}

}  // namespace dtrain::launcher
