#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"

namespace dtrain::data {

/// A stratified draw of `count` of the examples whose classes are `labels` (ids in [0, classes)): class shares as in
/// the whole, every class present where `count` allows (largest remainder after one each for the classes that exist).
/// Nested: the draw of n is contained in the draw of m > n under the same seed and purpose. Indices ascending. `count`
/// larger than the data throws UsageError with both numbers.
///
/// How: one seeded order of the examples in which class quotas hold for every prefix as nearly as they can.
std::vector<std::int64_t> stratified_subset(const std::vector<std::int32_t>& labels, std::int64_t classes,
                                            std::int64_t count, std::uint64_t seed, Purpose purpose = Purpose::subset);

}  // namespace dtrain::data
