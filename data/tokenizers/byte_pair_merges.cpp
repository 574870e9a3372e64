#include "data/tokenizers/byte_pair_merges.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace dtrain::data {
namespace {

constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
constexpr std::uint32_t kNone = ~std::uint32_t{0};

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

}  // namespace

BytePairMerges::BytePairMerges(const std::vector<BytePairMerge>& merges) {
  const std::size_t size = std::bit_ceil(2 * merges.size() + 2);
  shift_ = 64 - std::countr_zero(size);
  table_.assign(size, {kEmpty, 0, 0});
  for (const BytePairMerge& merge : merges) {
    const std::uint64_t pair = pair_of(merge.left, merge.right);
    table_[slot_of(pair)] = {pair, static_cast<std::uint32_t>(merged_.size()), merge.merged};
    merged_.push_back(merge.merged);
  }
}

// Where the pair is, or the free place where it would be.
std::size_t BytePairMerges::slot_of(std::uint64_t pair) const {
  std::size_t slot = pair * 0x9E3779B97F4A7C15U >> shift_;
  while (table_[slot].pair != pair && table_[slot].pair != kEmpty) slot = (slot + 1) & (table_.size() - 1);
  return slot;
}

const BytePairMerges::Entry* BytePairMerges::find(std::int32_t left, std::int32_t right) const {
  const Entry& entry = table_[slot_of(pair_of(left, right))];
  return entry.pair == kEmpty ? nullptr : &entry;
}

void BytePairMerges::apply(std::vector<std::int32_t>& ids, std::size_t begin, Workspace& workspace) const {
  const auto count = static_cast<std::uint32_t>(ids.size() - begin);
  if (count < 2) return;
  std::int32_t* id = ids.data() + begin;
  auto& symbols = workspace.symbols;
  auto& heap = workspace.candidates;
  symbols.resize(count);
  heap.clear();
  const auto rank_at = [&](std::uint32_t position) {
    const std::uint32_t next = symbols[position].next;
    const Entry* entry = next == kNone ? nullptr : find(id[position], id[next]);
    symbols[position].rank = entry == nullptr ? kNone : entry->rank;
    return entry != nullptr;
  };
  const auto candidate = [&](std::uint32_t position) { return std::uint64_t{symbols[position].rank} << 32 | position; };
  for (std::uint32_t i = 0; i < count; ++i) {
    symbols[i].previous = i == 0 ? kNone : i - 1;
    symbols[i].next = i + 1 == count ? kNone : i + 1;
    if (rank_at(i)) heap.push_back(candidate(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto refresh = [&](std::uint32_t position) {
    if (!rank_at(position)) return;
    heap.push_back(candidate(position));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    const auto position = static_cast<std::uint32_t>(heap.front());
    const auto rank = static_cast<std::uint32_t>(heap.front() >> 32);
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    // A candidate is out of date where a neighbouring merge has taken one of its two symbols.
    if (symbols[position].rank != rank) continue;
    const std::uint32_t gone = symbols[position].next;
    const std::uint32_t next = symbols[gone].next;
    id[position] = merged_[rank];
    symbols[gone].rank = kNone;
    symbols[position].next = next;
    if (next != kNone) symbols[next].previous = position;
    refresh(position);
    if (symbols[position].previous != kNone) refresh(symbols[position].previous);
  }
  std::size_t kept = 0;
  for (std::uint32_t i = 0; i != kNone; i = symbols[i].next) id[kept++] = id[i];
  ids.resize(begin + kept);
}

}  // namespace dtrain::data
