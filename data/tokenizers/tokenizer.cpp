#include "data/tokenizers/tokenizer.h"

#include <fmt/format.h>

#include "base/error.h"
#include "data/tokenizers/byte_level_bpe_loader.h"
#include "data/tokenizers/tokenizer_files.h"
#include "data/tokenizers/wordpiece_loader.h"

namespace dtrain::data {
namespace {

// A kind of tokenizer: what says that a directory holds it, and its loader, which returns null for another kind. Adding
// one: its file pair and a line here.
struct Kind {
  const char* description;
  std::unique_ptr<Tokenizer> (*load)(const TokenizerFiles& files);
};
constexpr Kind kKinds[] = {
    {"WordPiece (tokenizer.json of that model, or vocab.txt)", load_wordpiece_tokenizer},
    {"byte-level BPE (tokenizer.json of the model BPE, or vocab.json and merges.txt)", load_byte_level_bpe_tokenizer},
};

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& model_directory, const Log& log) {
  const TokenizerFiles files = read_tokenizer_files(model_directory);
  for (const std::string& note : files.notes) log.warning(note);
  std::string supported;
  for (const Kind& kind : kKinds) {
    if (auto tokenizer = kind.load(files)) return tokenizer;
    supported += fmt::format("{}{}", supported.empty() ? "" : "; ", kind.description);
  }
  if (!files.has("tokenizer.json"))
    throw InputError(fmt::format("{}: no tokenizer there; supported are: {}", model_directory.string(), supported));
  throw InputError(fmt::format(
      "{}: {}; supported are: {}", files.path("tokenizer.json").string(),
      files.model().empty() ? "there is no 'model'" : fmt::format("the model '{}' is not supported", files.model()),
      supported));
}

}  // namespace dtrain::data
