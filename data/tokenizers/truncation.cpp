#include "data/tokenizers/truncation.h"

#include <algorithm>
#include <utility>

namespace dtrain::data {

bool truncate_longest_first(std::vector<std::int32_t>& left, std::vector<std::int32_t>& right, std::size_t room) {
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
  shorter->resize(std::min(shorter->size(), short_size));
  longer->resize(std::min(longer->size(), long_size));
  return true;
}

}  // namespace dtrain::data
