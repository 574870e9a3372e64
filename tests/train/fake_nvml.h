#pragma once

#include <string>

namespace dtrain::train {

/// What the library fake_nvml answers, and what it was asked: it exports one as `fake_nvml`.
struct FakeNvml {
  unsigned long long millijoules = 0;
  // As nvmlReturn_t: 0 where it goes well.
  int initialised = 0;
  int found = 0;
  int read = 0;
  std::string bus_id = {};  // asked for last
  int users = 0;            // that have initialised it and not shut it down
};

}  // namespace dtrain::train
