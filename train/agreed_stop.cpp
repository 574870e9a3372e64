#include "train/agreed_stop.h"

#include <fmt/format.h>

#include "base/error.h"
#include "train/sum_over_ranks.h"

namespace dtrain::train {

bool is_stopped(const RunContext& context) {
  try {
    context.end_if_stopped();
    return false;
  } catch (const Stopped&) {
    return true;
  }
}

void end_where_one_stopped(bool stopped, const RunContext& context) {
  if (sum_over_ranks(stopped ? 1 : 0, context) > 0)
    throw Stopped(fmt::format("{} outside of a training step", stop_text(context)));
}

}  // namespace dtrain::train
