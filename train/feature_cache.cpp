#include "train/feature_cache.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <chrono>

#include "base/seconds.h"
#include "train/compute_apart.h"

namespace dtrain::train {

FeatureCache::FeatureCache(model::Classifier& classifier, int stage, const Examples& examples, const Batches& batches,
                           std::int64_t memory_limit, const RunContext& context)
    : stage_(stage), pooled_(stage == classifier.head_stage()) {
  const auto begin = std::chrono::steady_clock::now();
  const at::NoGradGuard no_grad;
  const std::int64_t hidden = classifier.config().hidden_size;
  const auto options = classifier.classifier.weight.value().options();
  const std::int64_t row_limit = memory_limit / (hidden * static_cast<std::int64_t>(options.dtype().itemsize()));
  std::vector<const std::vector<std::int64_t>*> kept;
  std::int64_t rows = 0;
  std::size_t kept_examples = 0;
  for (const auto& batch : batches) {
    std::int64_t needed = 0;
    for (const std::int64_t id : batch) needed += row_count(examples, id);
    if (rows + needed > row_limit) {
      left_out_ += static_cast<std::int64_t>(batch.size());
      continue;
    }
    rows += needed;
    kept.push_back(&batch);
    kept_examples += batch.size();
  }
  rows_ = at::empty({rows, hidden}, options);
  std::int64_t next = 0;
  for (const auto* ids : kept) {
    context.tick();
    context.end_if_stopped();
    const auto computed = compute(classifier, examples.collate(*ids, context.device), context, flop_);
    rows_.slice(0, next, next + computed.size(0)).copy_(computed);
    for (const std::int64_t id : *ids) {
      const std::int64_t count = row_count(examples, id);
      rows_of_[id] = {next, count};
      next += count;
    }
    context.log.progress(fmt::format("frozen part: {} of {} examples", rows_of_.size(), kept_examples));
  }
  context.log.progress("");
  seconds_ = seconds_since(begin);
}

std::int64_t FeatureCache::row_count(const Examples& examples, std::int64_t id) const {
  return pooled_ ? 1 : examples.length(id);
}

at::Tensor FeatureCache::compute(model::Classifier& classifier, const model::TokenBatch& batch,
                                 const RunContext& context, model::FlopCount& flop) const {
  model::ForwardContext forward;
  forward.matmul_type = context.matmul_type;
  const auto features = classifier.run_prefix(batch, stage_, forward);
  flop.add(forward.flop());
  return pooled_ ? features : features.slice(0, 0, batch.used_tokens());
}

at::Tensor FeatureCache::features(model::Classifier& classifier, const Examples& examples,
                                  const std::vector<std::int64_t>& ids, const model::TokenBatch& batch,
                                  const RunContext& context) const {
  model::FlopCount ignored;
  return features(classifier, examples, ids, batch, context, ignored);
}

at::Tensor FeatureCache::features(model::Classifier& classifier, const Examples& examples,
                                  const std::vector<std::int64_t>& ids, const model::TokenBatch& batch,
                                  const RunContext& context, model::FlopCount& flop) const {
  const at::NoGradGuard no_grad;
  std::vector<std::int64_t> missing;
  std::vector<std::int64_t> missing_places;
  std::vector<std::int64_t> index;
  std::vector<std::int64_t> places;
  std::int64_t place = 0;
  for (const std::int64_t id : ids) {
    const auto found = rows_of_.find(id);
    if (found == rows_of_.end()) missing.push_back(id);
    for (std::int64_t row = 0; row < row_count(examples, id); ++row, ++place) {
      (found == rows_of_.end() ? missing_places : places).push_back(place);
      if (found != rows_of_.end()) index.push_back(found->second.begin + row);
    }
  }
  const auto on_device = [&](const std::vector<std::int64_t>& numbers) {
    return model::on_device(at::tensor(numbers, at::kLong), rows_.device());
  };
  const std::int64_t tail = pooled_ ? 0 : batch.tokens() - place;  // rows of tokens that belong to no example
  auto rows = at::zeros({place + tail, rows_.size(1)}, rows_.options());
  if (!places.empty()) rows.index_copy_(0, on_device(places), rows_.index_select(0, on_device(index)));
  if (!missing.empty()) {
    rows.index_copy_(0, on_device(missing_places),
                     compute(classifier, examples.collate(missing, context.device), context, flop));
  }
  return rows;
}

std::int64_t FeatureCache::bytes_of(const model::Classifier& classifier, int stage, const Examples& examples,
                                    const Batches& batches) {
  std::int64_t rows = 0;
  for (const auto& batch : batches) {
    for (const std::int64_t id : batch) rows += stage == classifier.head_stage() ? 1 : examples.length(id);
  }
  return rows * classifier.config().hidden_size *
         static_cast<std::int64_t>(classifier.classifier.weight.value().element_size());
}

std::int64_t FeatureCache::bytes() const { return rows_.numel() * static_cast<std::int64_t>(rows_.element_size()); }

void FeatureStore::begin_run() {
  for (auto& [key, entry] : caches_) entry.in_run = false;
  reused_bytes_ = 0;
}

void FeatureStore::make_room(std::int64_t bytes) {
  while (used_ + bytes > memory_limit_) {
    auto oldest = caches_.end();
    for (auto entry = caches_.begin(); entry != caches_.end(); ++entry) {
      if (entry->second.in_run) continue;
      if (oldest == caches_.end() || entry->second.last_use < oldest->second.last_use) oldest = entry;
    }
    if (oldest == caches_.end()) return;
    used_ -= oldest->second.cache->bytes();
    caches_.erase(oldest);
  }
}

std::shared_ptr<const FeatureCache> FeatureStore::cache_for(model::Classifier& classifier, const Examples& examples,
                                                            const Batches& batches, const RunContext& context) {
  const int stage = classifier.first_trainable_stage();
  if (stage <= 1) return nullptr;
  std::shared_ptr<const FeatureCache> cache;
  std::int64_t left_out = 0;  // now, not by an earlier call
  compute_apart(context, [&] {
    if (batches.empty()) return;
    std::size_t count = 0;
    for (const auto& batch : batches) count += batch.size();
    const std::string key =
        fmt::format("{} {} {} {} {} {}", examples.digest(), model::pooling_name(classifier.pooling()), stage,
                    batches.size(), count, batches.front().front());
    auto found = caches_.find(key);
    if (found == caches_.end()) {
      make_room(FeatureCache::bytes_of(classifier, stage, examples, batches));
      auto made = std::make_shared<FeatureCache>(classifier, stage, examples, batches, memory_limit_ - used_, context);
      used_ += made->bytes();
      left_out = made->left_out();
      found = caches_.emplace(key, Entry{std::move(made)}).first;
      ++made_;
    } else if (!found->second.in_run) {
      reused_bytes_ += found->second.cache->bytes();
    }
    found->second.in_run = true;
    found->second.last_use = ++uses_;
    cache = found->second.cache;
  });
  const auto agreed = at::tensor({left_out}, at::kLong);
  context.control.all_reduce(agreed);
  if (agreed.item<std::int64_t>() > 0 && memory_limit_ > 0) {
    context.log.warning(
        fmt::format("the frozen part of {} of {} examples does not fit into --cache-memory ({} a rank) and is "
                    "computed again each time",
                    agreed.item<std::int64_t>(), examples.size(), bytes_text(static_cast<double>(memory_limit_))));
  }
  return cache;
}

}  // namespace dtrain::train
