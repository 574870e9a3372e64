#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/image.h"
#include "base/log.h"
#include "base/problem_type.h"
#include "data/label_map.h"
#include "data/readers/labelled_text.h"
#include "data/token_dataset.h"
#include "data/tokenizers/tokenizer.h"

namespace dtrain::data {

/// The files of a task and how to read them.
struct TaskFiles {
  /// What results.json calls it.
  std::string name;
  std::filesystem::path train;
  /// Empty: none.
  std::filesystem::path dev;
  std::filesystem::path test;
  /// Out-of-domain sets, by name.
  std::vector<std::pair<std::string, std::filesystem::path>> ood;
  Columns columns;
  /// What the labels are; unset: as problem_type_of finds in the training file.
  std::optional<ProblemType> problem_type = std::nullopt;
  /// The names of the outputs, where a trained model has decided them; empty: those of the training file's labels.
  LabelMap labels = {};
  /// False: `labels` are numbers, and hold only where the training file's are among them.
  bool labels_have_names = true;
  /// Unknown labels are dropped and counted instead of refused.
  bool drop_unknown_labels = false;
  /// Of the model that is to train on it (require_embeddings); unset: any token is taken.
  std::optional<ModelVocabulary> vocabulary = std::nullopt;
  /// Without `dev`: a tenth of the training file, at least 100 examples, at most half of it, becomes the dev set.
  bool hold_out_dev = false;
};

/// A task in memory: tokenized splits over one label map.
struct Task {
  std::string name;
  ProblemType problem_type = ProblemType::single_label_classification;
  /// The names of the outputs: of classes, of labels, or of numbers (label_map_of).
  LabelMap labels;
  TokenDataset train;
  TokenDataset dev;
  TokenDataset test;
  std::vector<std::pair<std::string, TokenDataset>> ood;
  /// The columns of the training file (LabelledTexts::columns).
  std::string columns;
  /// What a person should know about the data, a sentence each.
  std::vector<std::string> notes;

  /// For another process of this machine, as TokenDataset's.
  void add_to(ImageWriter& image, CachedTokens cached = CachedTokens::by_name) const;
  static Task from(ImageReader& image);
};

/// Reads and tokenizes every split of a task. The label map comes from the whole training file, or from `files`. Notes
/// count duplicate rows of train, train texts that are also in dev (held out or not) or test, classes with a single
/// row, truncated examples, dropped labels. Throws InputError for a file that cannot be read, fewer than two classes,
/// an unknown label (file, line, label, nearest known), one that is not of the problem type, or a text of which the
/// model does not know a token.
Task load_task(const TaskFiles& files, const Tokenizer& tokenizer, const TokenizeOptions& options, const Log& log);

/// What a person should know about the targets of a part of the training examples, which `name` names: how many classes
/// or labels are missing, how many occur only once; that numbers are all the same. Empty where there is nothing to say.
std::vector<std::string> target_notes(const Targets& part, const LabelMap& labels, const std::string& name);

/// One more file in a known model's terms (evaluate, predict). The rows are kept. Where `columns` requires no labels,
/// unknown ones are counted in a note; else they are dropped and counted, or refused.
struct LabelledSet {
  LabelledTexts texts;
  TokenDataset examples;
};
LabelledSet load_split(const std::filesystem::path& path, const Columns& columns, ProblemType problem_type,
                       const LabelMap& labels, bool drop_unknown_labels, const Tokenizer& tokenizer,
                       const TokenizeOptions& options, const Log& log);

/// The files of an embedded task ("wordnet") below the share directory; throws UsageError listing the tasks there are.
TaskFiles embedded_task(const std::string& name, const std::filesystem::path& share_directory);

}  // namespace dtrain::data
