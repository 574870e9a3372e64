// A clock that is set while a process runs, for LD_PRELOAD: from when on the file TEST_CLOCK_JUMPS_FROM is there, what
// day and time it is is TEST_CLOCK_JUMP seconds away from the truth. Clocks that only measure go on as they do.

#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

namespace {

long jump() {
  static const char* begin = std::getenv("TEST_CLOCK_JUMPS_FROM");
  static const char* seconds = std::getenv("TEST_CLOCK_JUMP");
  return begin != nullptr && seconds != nullptr && access(begin, F_OK) == 0 ? std::atol(seconds) : 0;
}

timespec present() {
  timespec now{};
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  now.tv_sec += jump();
  return now;
}

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
    return static_cast<int>(syscall(SYS_clock_gettime, clock, now));
  *now = present();
  return 0;
}

extern "C" int gettimeofday(timeval* now, void*) noexcept {
  const timespec exact = present();
  *now = {exact.tv_sec, exact.tv_nsec / 1000};
  return 0;
}

extern "C" time_t time(time_t* now) noexcept {
  const time_t seconds = present().tv_sec;
  if (now != nullptr) *now = seconds;
  return seconds;
}
