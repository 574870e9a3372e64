#include "data/retained_text.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <string_view>

#include "base/error.h"
#include "data/readers/text_content.h"
#include "data/targets.h"
#include "data/task.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;

}  // namespace

std::vector<std::string> read_retained_texts(const fs::path& path, const Log& log) {
  std::vector<std::string> texts;
  const auto add = [&](std::string_view text) {
    if (!trimmed(text).empty()) texts.emplace_back(text);
  };
  if (path.extension() == ".txt") {
    std::vector<std::string> notes;
    const std::string content = read_text(path, notes);
    Lines lines(content);
    for (std::string_view line; lines.next(line);) add(line);
    for (const auto& note : notes) log.warning(note);
  } else {
    Columns columns;
    columns.pair = "none";
    columns.label_required = false;
    const LabelledTexts read = read_labelled_texts(path, columns);
    for (const auto& note : read.notes) log.warning(note);
    for (const auto& row : read.rows) add(row.text);
  }
  if (texts.size() < 2)
    throw InputError(fmt::format("{}: expected two texts at least, found {}", path.string(), texts.size()));
  return texts;
}

fs::path embedded_retained_texts(const fs::path& share_directory) {
  auto path = share_directory / "texts" / "fortunes.txt";
  if (!fs::exists(path)) {
    throw InputError(fmt::format(
        "the embedded text is not at {}; scripts/run.sh puts it there, or name a file of texts", path.string()));
  }
  return path;
}

std::vector<std::pair<std::string, std::string>> definition_pairs(const fs::path& share_directory, std::size_t most) {
  if (!fs::exists(share_directory / "tasks" / "wordnet" / "test.tsv")) return {};
  const TaskFiles files = embedded_task("wordnet", share_directory);
  using Key = std::pair<std::string, std::string>;  // class and headword
  std::map<Key, std::vector<std::string>> definitions;
  for (const auto& row : read_labelled_texts(files.test, files.columns).rows)
    definitions[{row.label, row.text}].push_back(row.pair);
  std::vector<std::pair<std::string, std::string>> pairs;
  std::set<Key> used;
  for (const auto& row : read_labelled_texts(files.ood.front().second, files.columns).rows) {
    if (pairs.size() == most) break;
    const auto found = definitions.find({row.label, row.text});
    if (found == definitions.end() || found->second.size() != 1 || !used.insert(found->first).second) continue;
    pairs.emplace_back(found->second.front(), row.pair);
  }
  return pairs;
}

TokenDataset tokenize_texts(const std::vector<std::string>& texts, const Tokenizer& tokenizer,
                            const TokenizeOptions& options, const Log& log) {
  LabelledTexts rows;
  for (const auto& text : texts) rows.rows.push_back({.text = text, .pair = "", .label = ""});
  return tokenize(rows, Targets::of_classes(std::vector<std::int32_t>(texts.size(), -1), 1), tokenizer, options, log);
}

std::optional<std::int64_t> mask_token(const Tokenizer& tokenizer) {
  for (const char* token : {"[MASK]", "<mask>"}) {
    const auto found = tokenizer.tokenize(token, nullptr, 8).ids;
    // Between the first and the last special token, and another one than what stands for any unknown word.
    if (found.size() != 3) continue;
    const auto unknown = tokenizer.tokenize("\xEE\x80\x80\xEE\x80\x80", nullptr, 8).ids;
    if (unknown.size() != 3 || unknown[1] != found[1]) return found[1];
  }
  return std::nullopt;
}

}  // namespace dtrain::data
