#include "data/readers/wordnet.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <sstream>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/random.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTrain = 100'000;
constexpr std::size_t kDev = 8'000;
constexpr std::uint64_t kShuffleSeed = 20'061'201;  // WordNet 3.0's release

// lexnames(5WN), in the order of their numbers.
constexpr std::array<const char*, 45> kLexicographerFiles = {
    "adj.all",          "adj.pert",           "adv.all",
    "noun.Tops",        "noun.act",           "noun.animal",
    "noun.artifact",    "noun.attribute",     "noun.body",
    "noun.cognition",   "noun.communication", "noun.event",
    "noun.feeling",     "noun.food",          "noun.group",
    "noun.location",    "noun.motive",        "noun.object",
    "noun.person",      "noun.phenomenon",    "noun.plant",
    "noun.possession",  "noun.process",       "noun.quantity",
    "noun.relation",    "noun.shape",         "noun.state",
    "noun.substance",   "noun.time",          "verb.body",
    "verb.change",      "verb.cognition",     "verb.communication",
    "verb.competition", "verb.consumption",   "verb.contact",
    "verb.creation",    "verb.emotion",       "verb.motion",
    "verb.perception",  "verb.possession",    "verb.social",
    "verb.stative",     "verb.weather",       "adj.ppl"};

struct Synset {
  std::string label;
  std::string headword;
  std::string definition;
  std::vector<std::string> examples;
};

std::string trimmed(const std::string& text) {
  constexpr const char* kAround = " \t;:,";
  const std::size_t begin = text.find_first_not_of(" \t;");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kAround) - begin + 1);
}

// "definition; "example"; "example"" -> its parts.
void split_gloss(const std::string& gloss, Synset& synset) {
  std::string definition;
  std::size_t position = 0;
  while (position < gloss.size()) {
    const std::size_t open = std::min(gloss.find('"', position), gloss.size());
    definition += gloss.substr(position, open - position);
    if (open == gloss.size()) break;
    const std::size_t close = std::min(gloss.find('"', open + 1), gloss.size());
    const std::string example = trimmed(gloss.substr(open + 1, close - open - 1));
    if (!example.empty()) synset.examples.push_back(example);
    position = close + 1;
  }
  synset.definition = trimmed(definition);
}

// wndb(5WN): offset lex_filenum ss_type w_cnt word lex_id ... | gloss
Synset parse_synset(const std::string& line, const std::string& place) {
  std::istringstream fields(line);
  std::string offset, file, type, count, word;
  fields >> offset >> file >> type >> count >> word;
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(file.data(), file.data() + file.size(), number);
  const std::size_t bar = line.find(" | ");
  if (!fields || error != std::errc() || end != file.data() + file.size() || number >= kLexicographerFiles.size() ||
      bar == std::string::npos) {
    throw InputError(fmt::format(
        "{}: expected a WordNet 3.0 synset (offset, lexicographer file below 45, type, words, ' | ' gloss)", place));
  }
  Synset synset;
  synset.label = kLexicographerFiles[number];
  // Adjectives may carry a syntactic marker: galore(ip).
  synset.headword = word.substr(0, word.find('('));
  for (char& character : synset.headword) character = character == '_' ? ' ' : character;
  split_gloss(line.substr(bar + 3), synset);
  return synset;
}

std::string row(const Synset& synset, const std::string& text) {
  return fmt::format("{}\t{}\t{}\n", synset.label, synset.headword, text);
}

}  // namespace

void import_wordnet(const fs::path& dictionary, const fs::path& output) {
  std::vector<Synset> synsets;
  for (const char* part : {"noun", "verb", "adj", "adv"}) {
    const fs::path path = dictionary / fmt::format("data.{}", part);
    std::istringstream content(read_file(path));
    std::int64_t number = 0;
    for (std::string line; std::getline(content, line);) {
      ++number;
      if (line.starts_with("  ")) continue;  // the licence
      synsets.push_back(parse_synset(line, fmt::format("{}:{}", path.string(), number)));
    }
  }
  if (synsets.size() <= kTrain + kDev) {
    throw InputError(
        fmt::format("{}: expected WordNet 3.0 with 117,659 synsets, found {}", dictionary.string(), synsets.size()));
  }
  SplitMix64 random(kShuffleSeed);
  shuffle(synsets, random);
  const std::string header = "label\tsentence1\tsentence2\n";
  std::string train = header, dev = header, test = header, examples = header;
  for (std::size_t i = 0; i < synsets.size(); ++i) {
    std::string& split = i < kTrain ? train : i < kTrain + kDev ? dev : test;
    split += row(synsets[i], synsets[i].definition);
    if (i < kTrain + kDev) continue;
    for (const auto& example : synsets[i].examples) examples += row(synsets[i], example);
  }
  ensure_directory(output);
  write_file_atomically(output / "train.tsv", train);
  write_file_atomically(output / "dev.tsv", dev);
  write_file_atomically(output / "test.tsv", test);
  write_file_atomically(output / "examples.tsv", examples);
}

}  // namespace dtrain::data
