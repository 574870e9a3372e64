#include "data/tokenizers/truncation.h"

#include <algorithm>
#include <utility>

namespace dtrain::data {
namespace {

void cut(std::vector<std::int32_t>& ids, std::size_t size, TruncationSide side) {
  if (ids.size() <= size) return;
  if (side == TruncationSide::left)
    ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(size));
  else
    ids.resize(size);
}

}  // namespace

bool truncate_longest_first(std::vector<std::int32_t>& left, std::vector<std::int32_t>& right, std::size_t room,
                            TruncationSide side) {
  if (left.size() + right.size() <= room) return false;
  auto* shorter = &left;
  auto* longer = &right;
  if (left.size() > right.size()) std::swap(shorter, longer);
  std::size_t short_size = shorter->size();
  std::size_t long_size = short_size > room ? short_size : std::max(short_size, room - short_size);
  if (short_size + long_size > room) {
    short_size = room / 2;
    long_size = short_size + room % 2;
  }
  cut(*shorter, short_size, side);
  cut(*longer, long_size, side);
  return true;
}

}  // namespace dtrain::data
