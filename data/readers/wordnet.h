#pragma once

#include <filesystem>

namespace dtrain::data {

/// Writes the embedded task from WordNet 3.0's dictionary folder (data.noun, data.verb, data.adj, data.adv, as Debian's
/// `wordnet-base` installs them) as train.tsv (100,000 rows), dev.tsv (8,000), test.tsv (the rest) and examples.tsv
/// (the out-of-domain set: headword and usage example, of the test synsets), each `label<TAB>sentence1<TAB>sentence2`
/// under a header. Label: the lexicographer file (`noun.plant`); first text: the headword, underscores as spaces and
/// adjective markers such as "(p)" removed; second: the definition without its quoted examples. Shuffled with a fixed
/// seed, so that every machine gets the same bytes. Throws InputError when a file is missing or malformed (file:line).
void import_wordnet(const std::filesystem::path& dictionary, const std::filesystem::path& output);

}  // namespace dtrain::data
