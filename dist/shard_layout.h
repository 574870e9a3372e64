#pragma once

#include <cstdint>
#include <vector>

namespace dtrain::dist {

/// A half-open part of a flat buffer.
struct Stretch {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
};

/// How flat buffers are cut for collectives, and dealt to the ranks where each updates a share (ZeRO stage 1;
/// Rajbhandari et al., 2020).
class ShardLayout {
 public:
  /// What one collective carries: equal shares of the ranks, one after the other, and a rest of a few elements that all
  /// have.
  struct Bucket {
    Stretch dealt;
    Stretch rest;

    Stretch whole() const { return {dealt.begin, rest.end}; }
  };

  /// Cuts `stretches`, ascending and apart, each into buckets of about `bucket_elements`.
  ShardLayout(const std::vector<Stretch>& stretches, int ranks, std::int64_t bucket_elements);

  int ranks() const { return ranks_; }
  /// Ascending; together they cover the stretches.
  const std::vector<Bucket>& buckets() const { return buckets_; }
  Stretch share(const Bucket& bucket, int rank) const;

 private:
  int ranks_;
  std::vector<Bucket> buckets_;
};

}  // namespace dtrain::dist
