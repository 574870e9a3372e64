#include "dist/shard_layout.h"

#include <algorithm>

namespace dtrain::dist {
namespace {

// Elements of a share are a multiple of this, so that no two ranks' begin in one cache line.
constexpr std::int64_t kUnit = 16;

}  // namespace

ShardLayout::ShardLayout(const std::vector<Stretch>& stretches, int ranks, std::int64_t bucket_elements)
    : ranks_(ranks) {
  const std::int64_t unit = ranks == 1 ? 1 : kUnit * ranks;
  const std::int64_t length = std::max<std::int64_t>(1, bucket_elements / unit) * unit;
  for (const Stretch& stretch : stretches) {
    for (std::int64_t begin = stretch.begin; begin < stretch.end; begin += length) {
      const std::int64_t end = std::min(begin + length, stretch.end);
      const std::int64_t dealt = begin + (end - begin) / unit * unit;
      buckets_.push_back({{begin, dealt}, {dealt, end}});
    }
  }
}

Stretch ShardLayout::share(const Bucket& bucket, int rank) const {
  const std::int64_t size = bucket.dealt.size() / ranks_;
  return {bucket.dealt.begin + rank * size, bucket.dealt.begin + (rank + 1) * size};
}

}  // namespace dtrain::dist
