#include <cstring>

#include "launcher/session/cores.h"
#include "launcher/session/stop_signals.h"

// The dynamic linker calls what is in .preinit_array of a program when every library is loaded and none is initialised
// yet: the one moment at which libgomp, which counts the cores in its own initialisation, can be given the right ones
// without starting the program twice. Nothing of a library's state may be used here, the environment of <cstdlib>
// included, which is why it is an argument.
namespace {

void before_libraries(int, char**, char** environment) {
  // A scheduler may send them while the libraries and MPI are initialised; Session says what they are to do.
  dtrain::launcher::hold_stop_signals();
  dtrain::launcher::undo_default_binding([environment](const char* name) -> const char* {
    const std::size_t length = std::strlen(name);
    for (char** entry = environment; *entry != nullptr; ++entry) {
      if (std::strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') return *entry + length + 1;
    }
    return nullptr;
  });
}

[[gnu::section(".preinit_array"), gnu::used]] void (*call_before_libraries)(int, char**, char**) = before_libraries;

}  // namespace
