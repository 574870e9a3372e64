#pragma once

#include <cstdint>

#include "model/kernels/loops.h"
#include "model/kernels/random_loops.h"

// What the loops of attention share, compiled once for each instruction set.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

// One head of one sequence.
struct Item {
  std::int64_t head;
  std::int64_t begin;   // its first token
  std::int64_t length;  // in tokens
  std::int64_t first_key;
  std::int64_t keys;
};

template <typename Real, typename Stored>
inline Item item_of(const Attention<Real, Stored>& a, std::int64_t index) {
  const std::int64_t sequence = index / a.heads;
  return {index % a.heads, a.offsets[sequence], a.offsets[sequence + 1] - a.offsets[sequence], a.key_offsets[sequence],
          a.key_offsets[sequence + 1] - a.key_offsets[sequence]};
}

// The number of an item's first random element; the elements of its probabilities follow row by row.
template <typename Real, typename Stored>
inline std::uint64_t first_element(const Attention<Real, Stored>& a, const Item& item) {
  return static_cast<std::uint64_t>((item.begin * a.heads + item.head * item.length) * keep_width(a.max_keys));
}

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
