#include "train/run_energy.h"

#include <cmath>

namespace dtrain::train {

RunEnergy::RunEnergy(const RunContext& context) : context_(context), meter_(context.energy_counters) {
  if (!context.energy_counters.empty()) processors_.joules = [this] { return meter_.joules(); };
  gpu_.joules = context.gpu_joules;
  for (Source* source : {&processors_, &gpu_}) source->left_out = source->read();
}

void RunEnergy::pause() {
  for (Source* source : {&processors_, &gpu_}) source->at_pause = source->read();
}

void RunEnergy::go_on() {
  for (Source* source : {&processors_, &gpu_}) source->left_out += source->read() - source->at_pause;
}

Energy RunEnergy::taken() {
  const double processors = processors_.taken(context_);
  const double gpus = gpu_.taken(context_);
  if (context_.device.is_cpu()) return std::isnan(processors) ? Energy{} : Energy{processors, "cpu"};
  if (std::isnan(gpus)) return {};
  return std::isnan(processors) ? Energy{gpus, "gpu"} : Energy{processors + gpus, "cpu+gpu"};
}

// One that was silent once has left out an unknown part.
double RunEnergy::Source::read() {
  if (!joules || is_silent) return 0;
  const auto now = joules();
  is_silent = !now;
  return now.value_or(0);
}

double RunEnergy::Source::taken(const RunContext& context) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  const double here = read() - left_out;
  const double readers = sum_over_ranks(joules ? 1 : 0, context);
  const double known = sum_over_ranks(!joules ? 0 : is_silent ? kUnknown : here, context);
  return readers > 0 ? known : kUnknown;
}

}  // namespace dtrain::train
