// dtrain_import_wordnet DICTIONARY OUTPUT: run once at set-up.
#include <cstdio>

#include "base/error.h"
#include "data/readers/wordnet.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: dtrain_import_wordnet DICTIONARY OUTPUT\n", stderr);
    return 2;
  }
  try {
    dtrain::data::import_wordnet(argv[1], argv[2]);
  } catch (const dtrain::Error& error) {
    std::fprintf(stderr, "dtrain_import_wordnet: %s\n", error.what());
    return error.exit_code();
  }
  return 0;
}
