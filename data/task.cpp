#include "data/task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <unordered_set>

#include "base/error.h"
#include "base/listing.h"
#include "base/nearest_name.h"
#include "data/readers/label_column.h"
#include "data/row_targets.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;

// XXH3-128 of a row's content: a set of these is far smaller than one of texts.
struct ContentKey {
  std::uint64_t low;
  std::uint64_t high;
  bool operator==(const ContentKey&) const = default;
};
struct ContentKeyHash {
  std::size_t operator()(const ContentKey& key) const { return key.low; }
};
using ContentKeys = std::unordered_set<ContentKey, ContentKeyHash>;

ContentKey content_key(const LabelledText& row, bool with_label) {
  const std::string content =
      fmt::format("{}\x1f{}\x1f{}", row.text, row.pair,
                  with_label ? fmt::format("{}\x1f{}", row.label, fmt::join(row.labels, "\x1e")) : std::string());
  const auto hash = XXH3_128bits(content.data(), content.size());
  return {hash.low64, hash.high64};
}

std::string counted(std::int64_t count, const std::string& noun) {
  return fmt::format("{} {}{}", count_text(count), noun, count == 1 ? "" : "s");
}

// "2 of 3 classes occur only once: b, c"; the first ten of them.
std::string classes_text(const std::vector<std::string>& classes, const LabelMap& labels, const std::string& what) {
  return fmt::format("{} of {} {}: {}", classes.size(), labels.size(), what, capped_list(classes));
}

// The first label of a row that is none of the model's; null where all are. Numbers have no names.
const std::string* unknown_label(const LabelledText& row, ProblemType type, const LabelMap& labels) {
  if (type == ProblemType::regression) return nullptr;
  if (type == ProblemType::single_label_classification) return labels.id_of(row.label) < 0 ? &row.label : nullptr;
  const auto unknown = std::find_if(row.labels.begin(), row.labels.end(),
                                    [&](const std::string& label) { return labels.id_of(label) < 0; });
  return unknown == row.labels.end() ? nullptr : &*unknown;
}

void drop_or_refuse_unknown(LabelledTexts& texts, ProblemType type, const LabelMap& labels, bool drop,
                            const std::string& name) {
  if (!texts.has_labels) return;
  std::vector<LabelledText> known;
  const std::size_t before = texts.rows.size();
  for (LabelledText& row : texts.rows) {
    const std::string* unknown = unknown_label(row, type, labels);
    if (unknown == nullptr || (unknown->empty() && !drop)) {
      known.push_back(std::move(row));
    } else if (!drop) {
      throw InputError(
          fmt::format("{}:{}: the label '{}' is none of the {} classes of the training data or the trained model "
                      "(--drop-unknown-labels drops such rows){}; there are: {}",
                      name, row.line, shown_text(*unknown), labels.size(), did_you_mean(*unknown, labels.names()),
                      capped_list(labels.names())));
    }
  }
  if (known.empty()) throw InputError(fmt::format("{}: no row has a label that is one of the classes", name));
  if (known.size() < before) {
    texts.notes.push_back(fmt::format("{}: {} with unknown labels dropped", name,
                                      counted(static_cast<std::int64_t>(before - known.size()), "row")));
  }
  texts.rows = std::move(known);
}

void note_unknown(LabelledTexts& texts, ProblemType type, const LabelMap& labels, const std::string& name) {
  const auto unknown = std::count_if(texts.rows.begin(), texts.rows.end(), [&](const LabelledText& row) {
    const std::string* label = unknown_label(row, type, labels);
    return label != nullptr && !label->empty();
  });
  if (unknown > 0) {
    texts.notes.push_back(
        fmt::format("{}: {} with a label that is none of the {} classes (kept: labels are not needed)", name,
                    counted(unknown, "row"), labels.size()));
  }
}

// What the outputs of a model for these rows are called; throws where there is nothing to tell apart.
LabelMap labels_for(const LabelledTexts& train, const TaskFiles& files, ProblemType type) {
  const std::string name = files.train.string();
  const auto is_known = [&](const LabelledText& row) { return unknown_label(row, type, files.labels) == nullptr; };
  if (files.labels.size() > 0 &&
      (files.labels_have_names || std::all_of(train.rows.begin(), train.rows.end(), is_known))) {
    return files.labels;
  }
  LabelMap labels = label_map_of(train, type, name);
  if (type == ProblemType::single_label_classification && labels.size() < 2) {
    throw InputError(fmt::format("{}: expected at least two classes, found {} ('{}')", name, labels.size(),
                                 capped_list(labels.names())));
  }
  if (labels.size() == 0) throw InputError(fmt::format("{}: expected labels, found only empty lists", name));
  return labels;
}

// The dev set comes out of the training examples, whose texts are `keys`.
void hold_out_dev(Task& task, const std::vector<ContentKey>& keys) {
  const std::int64_t all = task.train.size();
  const std::int64_t held_out = std::min(std::max<std::int64_t>(100, all / 10), all / 2);
  const auto dev = stratified_draw(task.train.targets(), held_out, 0, Purpose::held_out);
  std::vector<std::int64_t> rest;
  ContentKeys rest_keys;
  for (std::int64_t id = 0; id < all; ++id) {
    if (std::binary_search(dev.begin(), dev.end(), id)) continue;
    rest.push_back(id);
    rest_keys.insert(keys[static_cast<std::size_t>(id)]);
  }
  const auto shared = std::count_if(
      dev.begin(), dev.end(), [&](std::int64_t id) { return rest_keys.count(keys[static_cast<std::size_t>(id)]) > 0; });
  task.dev = task.train.subset(dev);
  task.train = task.train.subset(rest);
  task.notes.push_back(
      fmt::format("no --dev file: {} of the training examples are held out to choose steps and learning rates",
                  count_text(held_out)));
  if (shared > 0) {
    task.notes.push_back(fmt::format("{} also in the rest of the training file", counted(shared, "held-out text")));
  }
  const auto missing = target_notes(task.train.targets(), task.labels, "the remaining training examples");
  task.notes.insert(task.notes.end(), missing.begin(), missing.end());
}

}  // namespace

std::vector<std::string> target_notes(const Targets& part, const LabelMap& labels, const std::string& name) {
  std::vector<std::string> notes;
  if (part.type() == ProblemType::regression) {
    std::int64_t equal = 0;
    while (equal < part.size() && part.numbers_of(equal)[0] == part.numbers_of(0)[0]) ++equal;
    if (part.size() > 1 && equal == part.size())
      notes.push_back(fmt::format("{}: every label is {}: there is nothing to learn", name, part.numbers_of(0)[0]));
    return notes;
  }
  const bool sets = part.type() == ProblemType::multi_label_classification;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(labels.size()), 0);
  for (std::int64_t i = 0; i < part.size(); ++i) {
    if (!sets) ++counts[static_cast<std::size_t>(part.class_of(i))];
    if (sets) {
      for (const std::int32_t label : part.labels_of(i)) ++counts[static_cast<std::size_t>(label)];
    }
  }
  for (const auto& [count, what] : {std::pair<std::int64_t, const char*>(0, "are missing"), {1, "occur only once"}}) {
    std::vector<std::string> found;
    for (std::size_t label = 0; label < counts.size(); ++label) {
      if (counts[label] == count) found.push_back(labels.names()[label]);
    }
    if (found.empty()) continue;
    notes.push_back(fmt::format("{}: {}", name,
                                classes_text(found, labels, fmt::format("{} {}", sets ? "labels" : "classes", what))));
  }
  return notes;
}

LabelledSet load_split(const fs::path& path, const Columns& columns, ProblemType problem_type, const LabelMap& labels,
                       bool drop_unknown_labels, const Tokenizer& tokenizer, const TokenizeOptions& options,
                       const Log& log) {
  LabelledSet set{read_labelled_texts(path, columns), {}};
  if (problem_type == ProblemType::single_label_classification) {
    check_label_column(set.texts, path.string(), [&](const std::string& label) { return labels.id_of(label) >= 0; });
  }
  if (columns.label_required) {
    check_label_form(set.texts, problem_type, path.string());
    drop_or_refuse_unknown(set.texts, problem_type, labels, drop_unknown_labels, path.string());
  } else {
    note_unknown(set.texts, problem_type, labels, path.string());
  }
  auto targets = targets_of(set.texts, problem_type, labels, path.string(), columns.label_required);
  set.examples = tokenize(set.texts, std::move(targets), tokenizer, options, log);
  if (set.examples.truncated() > 0) {
    set.texts.notes.push_back(fmt::format("{}: {} cut to {} tokens (--max-length)", path.string(),
                                          counted(set.examples.truncated(), "text"), options.max_length));
  }
  return set;
}

Task load_task(const TaskFiles& files, const Tokenizer& tokenizer, const TokenizeOptions& options, const Log& log) {
  Task task;
  task.name = files.name;
  LabelledTexts train = read_labelled_texts(files.train, files.columns);
  task.problem_type = files.problem_type ? *files.problem_type : problem_type_of(train, files.train.string());
  if (task.problem_type == ProblemType::single_label_classification) check_label_column(train, files.train.string());
  task.columns = train.columns;
  check_label_form(train, task.problem_type, files.train.string());
  task.labels = labels_for(train, files, task.problem_type);
  if (files.labels.size() > 0)
    drop_or_refuse_unknown(train, task.problem_type, task.labels, files.drop_unknown_labels, files.train.string());
  const auto note = [&](const std::vector<std::string>& notes) {
    task.notes.insert(task.notes.end(), notes.begin(), notes.end());
  };
  note(train.notes);
  ContentKeys seen;
  const auto duplicates = std::count_if(train.rows.begin(), train.rows.end(), [&](const LabelledText& row) {
    return !seen.insert(content_key(row, true)).second;
  });
  seen = {};
  if (duplicates > 0) {
    note({fmt::format("{}: {} (kept)", files.train.string(), counted(duplicates, "duplicate row"))});
  }
  auto targets = targets_of(train, task.problem_type, task.labels, files.train.string(), true);
  task.train = tokenize(train, std::move(targets), tokenizer, options, log);
  const auto check_tokens = [&](const LabelledTexts& texts, const TokenDataset& examples, const fs::path& path) {
    if (!files.vocabulary) return;
    require_embeddings(examples, *files.vocabulary, [&](std::int64_t example) {
      return fmt::format("{}:{}", path.string(), texts.rows[static_cast<std::size_t>(example)].line);
    });
  };
  check_tokens(train, task.train, files.train);
  note(target_notes(task.train.targets(), task.labels, files.train.string()));
  if (task.train.truncated() > 0) {
    note({fmt::format("{}: {} cut to {} tokens (--max-length)", files.train.string(),
                      counted(task.train.truncated(), "text"), options.max_length)});
  }
  std::vector<ContentKey> train_keys;
  for (const LabelledText& row : train.rows) train_keys.push_back(content_key(row, false));
  const ContentKeys train_texts(train_keys.begin(), train_keys.end());
  const bool has_pairs = train.has_pairs;
  train = {};  // the texts are no longer needed, and may be large
  if (files.dev.empty() && files.hold_out_dev) hold_out_dev(task, train_keys);
  train_keys = {};
  const auto load = [&](const fs::path& path) {
    LabelledSet set = load_split(path, files.columns, task.problem_type, task.labels, files.drop_unknown_labels,
                                 tokenizer, options, log);
    check_tokens(set.texts, set.examples, path);
    note(set.texts.notes);
    if (set.texts.has_pairs != has_pairs) {
      note({fmt::format("{}: {}, but the training file has {}", path.string(), has_pairs ? "single texts" : "pairs",
                        has_pairs ? "pairs" : "single texts")});
    }
    const auto shared = std::count_if(set.texts.rows.begin(), set.texts.rows.end(), [&](const LabelledText& row) {
      return train_texts.count(content_key(row, false)) > 0;
    });
    if (shared > 0) note({fmt::format("{}: {} also in the training file", path.string(), counted(shared, "text"))});
    return set.examples;
  };
  if (!files.dev.empty()) task.dev = load(files.dev);
  if (!files.test.empty()) task.test = load(files.test);
  for (const auto& [name, path] : files.ood) task.ood.emplace_back(name, load(path));
  return task;
}

void Task::add_to(ImageWriter& image, CachedTokens cached) const {
  const auto add_texts = [&](const std::vector<std::string>& texts) {
    image.add_number(static_cast<std::int64_t>(texts.size()));
    for (const std::string& text : texts) image.add_text(text);
  };
  image.add_text(name);
  image.add_number(static_cast<std::int64_t>(problem_type));
  add_texts(labels.names());
  for (const TokenDataset* split : {&train, &dev, &test}) split->add_to(image, cached);
  image.add_number(static_cast<std::int64_t>(ood.size()));
  for (const auto& [of, split] : ood) {
    image.add_text(of);
    split.add_to(image, cached);
  }
  image.add_text(columns);
  add_texts(notes);
}

Task Task::from(ImageReader& image) {
  const auto next_texts = [&] {
    std::vector<std::string> texts(static_cast<std::size_t>(image.next_number()));
    for (std::string& text : texts) text = image.next_text();
    return texts;
  };
  Task task;
  task.name = image.next_text();
  task.problem_type = static_cast<ProblemType>(image.next_number());
  task.labels = LabelMap(next_texts());
  for (TokenDataset* split : {&task.train, &task.dev, &task.test}) *split = TokenDataset::from(image);
  task.ood.resize(static_cast<std::size_t>(image.next_number()));
  for (auto& [of, split] : task.ood) {
    of = image.next_text();
    split = TokenDataset::from(image);
  }
  task.columns = image.next_text();
  task.notes = next_texts();
  return task;
}

TaskFiles embedded_task(const std::string& name, const fs::path& share_directory) {
  const std::vector<std::string> known = {"wordnet"};
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    throw UsageError(
        fmt::format("unknown task '{}'{}; there are: {}", name, did_you_mean(name, known), fmt::join(known, ", ")));
  }
  const fs::path directory = share_directory / "tasks" / name;
  if (!fs::exists(directory / "train.tsv")) {
    throw InputError(
        fmt::format("the embedded task is not at {}; scripts/run.sh puts it there, or name its place with DTRAIN_SHARE",
                    directory.string()));
  }
  return {.name = name,
          .train = directory / "train.tsv",
          .dev = directory / "dev.tsv",
          .test = directory / "test.tsv",
          .ood = {{"examples", directory / "examples.tsv"}},
          .columns = {},
          .labels = {}};
}

}  // namespace dtrain::data
