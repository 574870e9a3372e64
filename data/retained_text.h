#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/readers/labelled_text.h"
#include "data/token_dataset.h"
#include "data/tokenizers/tokenizer.h"

/// Text that forgetting is measured on: of no task, or of what the model could do before.
namespace dtrain::data {

/// Texts without labels: of a .txt file a line each, of any other data file its text column (and no second text). Empty
/// ones are left out; what was repaired is said. Throws InputError for a file that cannot be read or has fewer than two
/// texts.
std::vector<std::string> read_retained_texts(const std::filesystem::path& path, const Log& log);

/// The file that set-up makes below the share directory (Debian's fortunes-min). Throws InputError where it is not
/// there.
std::filesystem::path embedded_retained_texts(const std::filesystem::path& share_directory);

/// (definition, usage example) of synsets of the embedded task's test set, at most `most` of them and each once, in the
/// file's order: those whose headword and class occur once in it, so that the example is of that definition. Empty
/// where the task is not there.
std::vector<std::pair<std::string, std::string>> definition_pairs(const std::filesystem::path& share_directory,
                                                                  std::size_t most);

/// Single texts as examples whose targets are not known.
TokenDataset tokenize_texts(const std::vector<std::string>& texts, const Tokenizer& tokenizer,
                            const TokenizeOptions& options, const Log& log);

/// The id of the token that hides another, "[MASK]" or "<mask>"; nothing where the tokenizer takes neither for one
/// token.
std::optional<std::int64_t> mask_token(const Tokenizer& tokenizer);

}  // namespace dtrain::data
