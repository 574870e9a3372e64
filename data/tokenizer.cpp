#include "data/tokenizer.h"

#include <fmt/format.h>

#include "base/error.h"
#include "data/wordpiece_tokenizer.h"

namespace dtrain::data {

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& model_directory) {
  // Each loader returns null where the directory is not its kind. Adding one: its file pair and a line here.
  for (const auto load : {load_wordpiece_tokenizer}) {
    if (auto tokenizer = load(model_directory)) return tokenizer;
  }
  throw InputError(
      fmt::format("{}: no tokenizer there; expected tokenizer.json or vocab.txt", model_directory.string()));
}

}  // namespace dtrain::data
