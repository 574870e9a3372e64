#include "dist/polling.h"

#include <algorithm>
#include <thread>

namespace dtrain::dist {

bool ends_within(std::chrono::milliseconds timeout, const std::function<bool()>& ended) {
  using namespace std::chrono;
  const auto start = steady_clock::now();
  while (!ended()) {
    const nanoseconds waited = steady_clock::now() - start;
    if (waited >= timeout) return false;
    if (waited < 100us) continue;
    if (waited < 1ms) {
      std::this_thread::yield();
    } else {
      // MPI moves a collective only inside `ended`, so the sleep grows with the wait but stays short.
      std::this_thread::sleep_for(std::clamp<nanoseconds>(waited / 64, 20us, 200us));
    }
  }
  return true;
}

}  // namespace dtrain::dist
