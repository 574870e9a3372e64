#pragma once

// The calls of the C library that open a file by its name and flags, for a preloaded library of one source, which says
// in `opened` what becomes of them.

#include <fcntl.h>
#include <stdarg.h>

namespace {

int opened(int directory, const char* name, int flags, mode_t mode);

}  // namespace

extern "C" {

#define OPEN_MODE(last)               \
  mode_t mode = 0;                    \
  if ((flags & O_CREAT) != 0) {       \
    va_list arguments;                \
    va_start(arguments, last);        \
    mode = va_arg(arguments, mode_t); \
    va_end(arguments);                \
  }

int open(const char* name, int flags, ...) {
  OPEN_MODE(flags)
  return opened(AT_FDCWD, name, flags, mode);
}
int open64(const char* name, int flags, ...) {
  OPEN_MODE(flags)
  return opened(AT_FDCWD, name, flags, mode);
}
int openat(int directory, const char* name, int flags, ...) {
  OPEN_MODE(flags)
  return opened(directory, name, flags, mode);
}
int openat64(int directory, const char* name, int flags, ...) {
  OPEN_MODE(flags)
  return opened(directory, name, flags, mode);
}

#undef OPEN_MODE

}  // extern "C"
