#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/classifier.h"
#include "train/examples.h"
#include "train/run_context.h"

namespace dtrain::train {

/// Example ids, batch by batch.
using Batches = std::vector<std::vector<std::int64_t>>;

/// What the frozen stages below the first trainable one make of examples, computed once, without dropout, and kept up
/// to a limit; what does not fit is computed again when it is needed.
class FeatureCache {
 public:
  /// Runs the stages below `stage` on `batches` (this rank's share of the examples), each computed as a whole, so that
  /// the bytes follow from the batches alone and not from the number of ranks. A batch that does not fit is left out.
  FeatureCache(model::Classifier& classifier, int stage, const Examples& examples, const Batches& batches,
               std::int64_t memory_limit, const RunContext& context);

  /// The input of `stage` for these examples, of which `batch` has the tokens: rows of tokens, or of examples before
  /// the head.
  at::Tensor features(model::Classifier& classifier, const Examples& examples, const std::vector<std::int64_t>& ids,
                      const model::TokenBatch& batch, const RunContext& context) const;
  /// The same, and counts in `flop` what is computed again.
  at::Tensor features(model::Classifier& classifier, const Examples& examples, const std::vector<std::int64_t>& ids,
                      const model::TokenBatch& batch, const RunContext& context, model::FlopCount& flop) const;

  std::int64_t bytes() const;
  /// What a cache of all these examples would take.
  static std::int64_t bytes_of(const model::Classifier& classifier, int stage, const Examples& examples,
                               const Batches& batches);
  /// How many examples did not fit.
  std::int64_t left_out() const { return left_out_; }
  /// How long it took to make.
  double seconds() const { return seconds_; }
  /// What making it took.
  const model::FlopCount& flop() const { return flop_; }

 private:
  struct Rows {
    std::int64_t begin;
    std::int64_t count;
  };

  std::int64_t row_count(const Examples& examples, std::int64_t id) const;
  at::Tensor compute(model::Classifier& classifier, const model::TokenBatch& batch, const RunContext& context,
                     model::FlopCount& flop) const;

  int stage_;
  bool pooled_;
  at::Tensor rows_;  // [rows, hidden]
  std::unordered_map<std::int64_t, Rows> rows_of_;
  std::int64_t left_out_ = 0;
  double seconds_ = 0;
  model::FlopCount flop_;
};

/// The caches of a study: trials that share a frozen part share its features. Held by whoever runs several runs. What
/// does not fit beside a new one gives way, the longest unused first, but never what the present run uses: what a run
/// finds room for does not depend on the runs before it.
class FeatureStore {
 public:
  explicit FeatureStore(std::int64_t memory_limit) : memory_limit_(memory_limit) {}

  /// The cache for this rank's share of these examples, made when it is asked for the first time; null for an empty
  /// share, and where nothing but the embeddings lies below the first trainable stage, which costs less to compute than
  /// to keep. Collective: what does not fit on any rank is said once; throws Stopped on every rank where one is
  /// stopped.
  std::shared_ptr<const FeatureCache> cache_for(model::Classifier& classifier, const Examples& examples,
                                                const Batches& batches, const RunContext& context);
  /// How many caches were made so far.
  std::int64_t made() const { return made_; }
  /// A run begins: the caches of earlier ones may give way.
  void begin_run();
  /// Bytes of the caches of earlier runs that the present one uses.
  std::int64_t reused_bytes() const { return reused_bytes_; }

 private:
  struct Entry {
    std::shared_ptr<const FeatureCache> cache;
    bool in_run = false;
    std::int64_t last_use = 0;
  };
  void make_room(std::int64_t bytes);

  std::int64_t memory_limit_;
  std::int64_t used_ = 0;
  std::int64_t made_ = 0;
  std::int64_t uses_ = 0;
  std::int64_t reused_bytes_ = 0;
  std::map<std::string, Entry> caches_;
};

}  // namespace dtrain::train
