#include "train/sharding.h"

#include <algorithm>

namespace dtrain::train {
namespace {

// What `auto` takes for worth it, on CPUs alone: the moments of fewer parameters are little memory, and memory is what
// sharding saves (docs/scaling.md). A constant, so that the same run has the same bytes everywhere.
constexpr std::int64_t kWorthSharding = 4 << 20;
// Elements of a bucket, whatever --bucket-bytes says: each has requests of its own.
constexpr std::int64_t kLeastBucket = 1 << 10;

bool shards(const FlatParameters& parameters, const TrainOptions& options, const RunContext& context,
            bool needs_gradients) {
  const ShardOptimizer wanted = options.shard_optimizer;
  if (wanted == ShardOptimizer::off || context.gradients.size() == 1) return false;
  if (needs_gradients) {
    if (wanted == ShardOptimizer::on) {
      context.log.warning(
          "--shard-optimizer: this method reads whole gradients, so that each rank keeps the whole optimizer");
    }
    return false;
  }
  return wanted == ShardOptimizer::on || (parameters.values.is_cpu() && parameters.size() >= kWorthSharding);
}

// What lies between the lookup tables.
std::vector<dist::Stretch> dense_stretches(const FlatParameters& parameters) {
  std::vector<dist::Stretch> stretches;
  std::int64_t begin = 0;
  for (const std::size_t table : parameters.tables) {
    if (parameters.offsets[table] > begin) stretches.push_back({begin, parameters.offsets[table]});
    begin = parameters.offsets[table + 1];
  }
  if (parameters.size() > begin) stretches.push_back({begin, parameters.size()});
  return stretches;
}

std::int64_t bucket_elements(const FlatParameters& parameters, const TrainOptions& options) {
  return std::max(kLeastBucket, options.bucket_bytes / static_cast<std::int64_t>(parameters.values.element_size()));
}

}  // namespace

Sharding::Sharding(const FlatParameters& parameters)
    : dense_(dense_stretches(parameters)), layout_(dense_, 1, parameters.size()) {}

Sharding::Sharding(const FlatParameters& parameters, const TrainOptions& options, const RunContext& context,
                   bool needs_gradients)
    : context_(shards(parameters, options, context, needs_gradients) ? &context : nullptr),
      needs_gradients_(needs_gradients),
      reduced_to_(on() && options.virtual_ranks == 0 ? dist::ReducedTo::shares : dist::ReducedTo::every_rank),
      dense_(dense_stretches(parameters)),
      layout_(dense_, ranks(), bucket_elements(parameters, options)) {}

dist::Stretch Sharding::rows_of(std::int64_t rows, int rank) const {
  return {rows * rank / ranks(), rows * (rank + 1) / ranks()};
}

}  // namespace dtrain::train
