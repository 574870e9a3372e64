#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dtrain::data {

/// Two neighbouring symbols and what they become.
struct BytePairMerge {
  std::int32_t left = 0;
  std::int32_t right = 0;
  std::int32_t merged = 0;
};

/// Byte-pair encoding (Sennrich et al., arXiv 1508.07909) of a word, as the BPE model of Hugging Face's `tokenizers`.
class BytePairMerges {
 public:
  /// The memory of one thread's calls, kept between them.
  struct Workspace {
    struct Symbol {
      std::uint32_t previous = 0;
      std::uint32_t next = 0;
      std::uint32_t rank = 0;  // of the merge with the next
    };
    std::vector<Symbol> symbols;
    std::vector<std::uint64_t> candidates;  // a heap of rank and position
  };

  /// By rank. Of a pair that is there twice the later rank counts.
  explicit BytePairMerges(const std::vector<BytePairMerge>& merges);

  /// Merges ids[begin..] in place until no two neighbours are in the table: the lowest rank first, of the same rank the
  /// leftmost. n log n in the length of the word.
  void apply(std::vector<std::int32_t>& ids, std::size_t begin, Workspace& workspace) const;

 private:
  struct Entry {
    std::uint64_t pair;
    std::uint32_t rank;
    std::int32_t merged;
  };
  const Entry* find(std::int32_t left, std::int32_t right) const;
  std::size_t slot_of(std::uint64_t pair) const;

  std::vector<Entry> table_;          // open addressing; twice the entries at least, so that a search ends
  std::vector<std::int32_t> merged_;  // by rank
  int shift_ = 0;
};

}  // namespace dtrain::data
