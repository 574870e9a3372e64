#include "train/feature_cache.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <chrono>

#include "data/batch_plan.h"
#include "train/collate.h"
#include "train/evaluation.h"

namespace dtrain::train {

FeatureCache::FeatureCache(model::Classifier& classifier, int stage, const data::TokenDataset& examples,
                           const std::vector<std::int64_t>& ids, std::int64_t memory_limit, const RunContext& context)
    : stage_(stage) {
  const auto begin = std::chrono::steady_clock::now();
  const at::NoGradGuard no_grad;
  const bool pooled = stage == classifier.head_stage();
  const std::int64_t hidden = classifier.config().hidden_size;
  const std::int64_t row_limit = memory_limit / (hidden * static_cast<std::int64_t>(sizeof(float)));
  std::vector<std::int64_t> kept;
  std::vector<std::int32_t> lengths;
  std::int64_t rows = 0;
  for (const std::int64_t id : ids) {
    const std::int64_t needed = pooled ? 1 : examples.length(id);
    if (rows + needed > row_limit) {
      ++left_out_;
      continue;
    }
    rows += needed;
    kept.push_back(id);
    lengths.push_back(examples.length(id));
  }
  rows_ = at::empty({rows, hidden}, at::TensorOptions().device(context.device));
  std::int64_t next = 0;
  std::int64_t done = 0;
  for (const auto& positions : data::evaluation_batches(lengths, kEvaluationTokens)) {
    std::vector<std::int64_t> batch_ids;
    for (const std::int64_t position : positions) batch_ids.push_back(kept[static_cast<std::size_t>(position)]);
    const auto batch = collate(examples, batch_ids, context.device);
    const auto prefix = classifier.run_prefix(batch, stage, context.product_type);
    const auto computed = pooled ? prefix : prefix.slice(0, 0, batch.used_tokens());
    rows_.slice(0, next, next + computed.size(0)).copy_(computed);
    for (const std::int64_t id : batch_ids) {
      const std::int64_t count = pooled ? 1 : examples.length(id);
      rows_of_[id] = {next, count};
      next += count;
    }
    done += static_cast<std::int64_t>(batch_ids.size());
    context.log.progress(fmt::format("frozen part: {} of {} examples", done, kept.size()));
  }
  context.log.progress("");
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

at::Tensor FeatureCache::features(model::Classifier& classifier, const std::vector<std::int64_t>& ids,
                                  const model::TokenBatch& batch, const RunContext& context) const {
  std::vector<std::int64_t> index;
  for (const std::int64_t id : ids) {
    const auto found = rows_of_.find(id);
    if (found == rows_of_.end()) return classifier.run_prefix(batch, stage_, context.product_type);
    for (std::int64_t row = 0; row < found->second.count; ++row) index.push_back(found->second.begin + row);
  }
  const at::NoGradGuard no_grad;
  const auto rows = rows_.index_select(0, at::tensor(index, at::kLong).to(rows_.device()));
  const bool pooled = stage_ == classifier.head_stage();
  return pooled ? rows : at::constant_pad_nd(rows, {0, 0, 0, batch.tokens() - rows.size(0)});
}

std::int64_t FeatureCache::bytes() const { return rows_.numel() * static_cast<std::int64_t>(rows_.element_size()); }

const FeatureCache* FeatureStore::cache_for(model::Classifier& classifier, const data::TokenDataset& examples,
                                            const std::vector<std::int64_t>& ids, const RunContext& context) {
  const int stage = classifier.first_trainable_stage();
  if (stage <= 1 || ids.empty()) return nullptr;
  const std::string key = fmt::format("{} {} {} {}", examples.digest(), stage, ids.size(), ids.front());
  const auto found = caches_.find(key);
  if (found != caches_.end()) return found->second.get();
  auto cache = std::make_unique<FeatureCache>(classifier, stage, examples, ids, memory_limit_ - used_, context);
  used_ += cache->bytes();
  if (cache->left_out() > 0) {
    context.log.warning(
        fmt::format("the frozen part of {} of {} examples does not fit into --cache-memory ({}) and is "
                    "computed again each time",
                    cache->left_out(), ids.size(), bytes_text(static_cast<double>(memory_limit_))));
  }
  return (caches_[key] = std::move(cache)).get();
}

}  // namespace dtrain::train
