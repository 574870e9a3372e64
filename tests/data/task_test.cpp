#include "data/task.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"
#include "tests/data/small_model.h"

namespace dtrain::data {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class TaskOfFiles : public testing::Test {
 protected:
  Task load(const std::string& train, const std::string& test, bool drop_unknown = false, int max_length = 16) {
    const TaskFiles files{.name = "small",
                          .train = directory.file("train.tsv", train),
                          .dev = {},
                          .test = test.empty() ? std::filesystem::path() : directory.file("test.tsv", test),
                          .ood = {},
                          .columns = {},
                          .drop_unknown_labels = drop_unknown};
    return load_task(files, *tokenizer, {.max_length = max_length, .threads = 1, .cache_directory = {}}, {});
  }

  const TemporaryDirectory directory;
  const std::unique_ptr<Tokenizer> tokenizer = letter_tokenizer();
};

TEST_F(TaskOfFiles, HasOneLabelMapFromTheWholeTrainingFile) {
  const Task task = load("b\tone\na\ttwo\nb\tthree\n", "b\tfour\n");
  EXPECT_THAT(task.labels.names(), ElementsAre("a", "b"));
  EXPECT_EQ(task.train.size(), 3);
  EXPECT_EQ(task.train.targets().class_of(0), 1);
  EXPECT_EQ(task.train.targets().class_of(1), 0);
  EXPECT_EQ(task.test.targets().class_of(0), 1);
  EXPECT_EQ(task.dev.size(), 0);
}

TEST_F(TaskOfFiles, MayHaveATokenizerOfMoreTokensThanItsModelUnlessATextHasOne) {
  // Without the continuations, from 31 on.
  const ModelVocabulary letters{.model = "small", .tokenizer = "letters", .embeddings = 31};
  const auto load_file = [&](const std::string& split, const std::string& text) {
    TaskFiles files{.name = "small",
                    .train = directory.file("train.tsv", "a\tx\nb\ty\n"),
                    .dev = {},
                    .test = {},
                    .ood = {},
                    .columns = {},
                    .vocabulary = letters};
    (split == "train" ? files.train : split == "dev" ? files.dev : files.test) = directory.file(split + ".tsv", text);
    return load_task(files, *tokenizer, {.max_length = 16, .threads = 1, .cache_directory = {}}, {});
  };
  for (const std::string split : {"train", "dev", "test"}) {
    EXPECT_GT(load_file(split, "a\tx\nb\ty z\n").train.size(), 0);
    EXPECT_THAT(failure_of<InputError>([&] { load_file(split, "a\tx\nb\ty yz\n"); }),
                AllOf(HasSubstr(split + ".tsv:2: the tokenizer of letters makes token 56 of this text"),
                      HasSubstr("the model small has only 31 embeddings")));
  }
}

TEST_F(TaskOfFiles, WithoutAnythingOddHasNoNotes) {
  EXPECT_THAT(load("a\tone\na\ttwo\nb\tthree\nb\tfour\n", "a\tfive\n").notes, IsEmpty());
}

TEST_F(TaskOfFiles, CountsDuplicateRowsOfTraining) {
  // The same text under two labels is no duplicate row.
  EXPECT_THAT(load("a\tone\na\tone\na\tone\nb\tone\nb\ttwo\n", "").notes,
              ElementsAre(HasSubstr("train.tsv: 2 duplicate rows (kept)")));
}

TEST_F(TaskOfFiles, CountsTextsThatTrainingSharesWithTheTestWhateverTheirLabels) {
  EXPECT_THAT(load("a\tone\na\ttwo\nb\tthree\nb\tfour\n", "b\tone\na\ttwo\nb\tfive\n").notes,
              ElementsAre(HasSubstr("test.tsv: 2 texts also in the training file")));
  EXPECT_THAT(load("a\tone\tx\na\ttwo\tx\nb\tthree\tx\nb\tfour\tx\n", "b\tone\tother pair\n").notes, IsEmpty());
}

TEST_F(TaskOfFiles, NamesLabelsThatAreSeenOnce) {
  EXPECT_THAT(load("a\tone\na\ttwo\nb\tthree\nc\tfour\n", "").notes,
              ElementsAre(HasSubstr("train.tsv: 2 of 3 classes occur only once: b, c")));
}

TEST_F(TaskOfFiles, NamesTheFirstTenOfManyLabelsThatAreSeenOnce) {
  std::string train = "label\ttext\n";
  for (int i = 0; i < 1000; ++i) train += fmt::format("l{:03}\ttext number {}\n", i, i);
  EXPECT_THAT(load(train, "").notes, Contains(AllOf(HasSubstr("1000 of 1000 classes occur only once: l000, "),
                                                    HasSubstr("l009 and 990 more"), Not(HasSubstr("l010")))));
}

TEST_F(TaskOfFiles, CountsTextsThatAreCut) {
  EXPECT_THAT(load("a\tword\na\tb\nb\tc\nb\tlonger\n", "a\tlongest\n", false, 5).notes,
              ElementsAre(HasSubstr("train.tsv: 2 texts cut to 5 tokens"), HasSubstr("test.tsv: 1 text cut to 5")));
}

TEST_F(TaskOfFiles, RefusesAnUnknownLabelOfTheTestWithItsLineAndTheNearest) {
  const std::string train = "noun.plant\tone\nnoun.plant\ttwo\nverb.motion\tthree\nverb.motion\tfour\n";
  const std::string message = failure_of<InputError>([&] { load(train, "verb.motion\tfive\nnoun.plants\tsix\n"); });
  EXPECT_THAT(message, AllOf(HasSubstr("test.tsv:2: the label 'noun.plants' is none of the 2 classes"),
                             HasSubstr("did you mean 'noun.plant'?"), HasSubstr("--drop-unknown-labels")));
}

TEST_F(TaskOfFiles, TakesTheClassesOfATrainedModelInItsOrder) {
  TaskFiles files;
  files.train = directory.file("train.tsv", "b\tone\na\ttwo\n");
  const auto names = [&] {
    return load_task(files, *tokenizer, {.max_length = 16, .threads = 1, .cache_directory = {}}, {}).labels.names();
  };
  EXPECT_THAT(names(), ElementsAre("a", "b"));
  files.labels = LabelMap({"b", "c", "a"});
  EXPECT_THAT(names(), ElementsAre("b", "c", "a"));
  files.labels = LabelMap({"0", "1"});
  EXPECT_THAT(failure_of<InputError>([&] { names(); }),
              HasSubstr("train.tsv:1: the label 'b' is none of the 2 classes"));
  // Numbers give way to names, and hold where they are the names.
  files.labels_have_names = false;
  EXPECT_THAT(names(), ElementsAre("a", "b"));
  files.labels = LabelMap({"b", "a"});
  EXPECT_THAT(names(), ElementsAre("b", "a"));
}

TEST_F(TaskOfFiles, DropsAndCountsUnknownLabelsWhereAsked) {
  const std::string train = "a\tone\na\ttwo\nb\tthree\nb\tfour\n";
  const Task task = load(train, "x\tfive\nb\tsix\ny\tseven\n", true);
  ASSERT_EQ(task.test.size(), 1);
  EXPECT_EQ(task.test.targets().class_of(0), 1);
  EXPECT_THAT(task.notes, ElementsAre(HasSubstr("test.tsv: 2 rows with unknown labels dropped")));
  EXPECT_THAT(failure_of<InputError>([&] { load(train, "x\tfive\n", true); }),
              HasSubstr("test.tsv: no row has a label that is one of the classes"));
}

TEST_F(TaskOfFiles, HoldsOutItsDevSetWhereAskedAndCountsTheTextsItShares) {
  std::string rows;
  for (int i = 0; i < 20; ++i) rows += fmt::format("{}\ttext number {}\n", i % 2 == 0 ? "a" : "b", i / 4);
  TaskFiles files;
  files.train = directory.file("train.tsv", rows + "rare\tone\n");
  files.hold_out_dev = true;
  const auto loaded = [&] {
    return load_task(files, *tokenizer, {.max_length = 64, .threads = 1, .cache_directory = {}}, {});
  };
  const Task task = loaded();
  EXPECT_EQ(task.dev.size(), 10);
  EXPECT_EQ(task.train.size(), 11);
  EXPECT_THAT(task.notes, Contains(HasSubstr("no --dev file: 10 of the training examples are held out")));
  EXPECT_THAT(task.notes, Contains(HasSubstr("held-out texts also in the rest of the training file")));
  EXPECT_THAT(task.notes, Contains("the remaining training examples: 1 of 3 classes are missing: rare"));
  // With a dev file of its own nothing is held out.
  files.dev = directory.file("dev.tsv", "a\tfive\n");
  EXPECT_EQ(loaded().train.size(), 21);
}

TEST_F(TaskOfFiles, NamesTheClassesThatAPartLacksOrHasOnce) {
  const Task task = load("a\tone\na\ttwo\nb\tthree\nb\tfour\nc\tfive\nc\tsix\n", "");
  EXPECT_THAT(
      target_notes(task.train.subset({0, 1, 2}).targets(), task.labels, "--samples 3"),
      ElementsAre("--samples 3: 1 of 3 classes are missing: c", "--samples 3: 1 of 3 classes occur only once: b"));
  EXPECT_THAT(target_notes(task.train.targets(), task.labels, "all"), IsEmpty());
}

TEST_F(TaskOfFiles, KeepsAndCountsUnknownLabelsWhereNoneAreNeeded) {
  const auto path = directory.file("inputs.csv", "label,text\na,one\nz,two\n,three\nb,four\n");
  const auto read = [&](bool required) {
    return load_split(path, {"", "", "", required}, ProblemType::single_label_classification, LabelMap({"a", "b"}),
                      false, *tokenizer, {.max_length = 16, .threads = 1, .cache_directory = {}}, {});
  };
  const LabelledSet set = read(false);
  EXPECT_EQ(set.texts.rows.size(), 4U);
  EXPECT_EQ(set.examples.targets().class_of(1), -1);
  EXPECT_THAT(set.texts.notes,
              ElementsAre(HasSubstr("inputs.csv: 1 row with a label that is none of the 2 classes (kept")));
  EXPECT_THAT(failure_of<InputError>([&] { read(true); }), HasSubstr("inputs.csv"));
}

TEST_F(TaskOfFiles, NeedsTwoClasses) {
  EXPECT_THAT(failure_of<InputError>([&] { load("a\tone\na\ttwo\n", ""); }),
              HasSubstr("train.tsv: expected at least two classes, found 1 ('a')"));
}

TEST_F(TaskOfFiles, SaysWhereOneFileHasPairsAndAnotherNot) {
  EXPECT_THAT(load("a\tone\tx\na\ttwo\tx\nb\tthree\tx\nb\tfour\tx\n", "a\tfive\n").notes,
              ElementsAre(HasSubstr("test.tsv: single texts, but the training file has pairs")));
}

TEST(EmbeddedTask, IsFoundByItsName) {
  const TaskFiles files = embedded_task("wordnet", DTRAIN_SHARE_DIR);
  EXPECT_EQ(files.name, "wordnet");
  for (const auto& path : {files.train, files.dev, files.test, files.ood.at(0).second})
    EXPECT_TRUE(std::filesystem::exists(path)) << path;
}

TEST(EmbeddedTask, ThatIsUnknownOrMissingIsSaid) {
  EXPECT_EQ(failure_of<UsageError>([] { embedded_task("wordnte", DTRAIN_SHARE_DIR); }),
            "unknown task 'wordnte'; did you mean 'wordnet'?; there are: wordnet");
  EXPECT_THAT(failure_of<InputError>([] { embedded_task("wordnet", "/nowhere"); }),
              HasSubstr("/nowhere/tasks/wordnet"));
}

TEST_F(TaskOfFiles, IsTheSameInAnotherProcess) {
  std::string rows;
  for (int i = 0; i < 300; ++i)
    rows += fmt::format("{}\ttext {}\n", i % 3 == 0 ? "a" : "b", std::string(1 + i % 5, 'x'));
  const TaskFiles files{.name = "small",
                        .train = directory.file("train.tsv", rows),
                        .dev = {},
                        .test = directory.file("test.tsv", "b\tone\n"),
                        .ood = {{"other", directory.file("other.tsv", "a\ttwo\nb\tthree\n")}},
                        .columns = {},
                        .hold_out_dev = true};
  const Task task = load_task(files, *tokenizer, {.max_length = 4, .threads = 1, .cache_directory = {}}, {});
  ImageWriter image;
  task.add_to(image);
  std::vector<std::byte> bytes(image.size());
  image.write(bytes);
  ImageReader reader(bytes, nullptr);
  const Task received = Task::from(reader);
  EXPECT_EQ(received.name, "small");
  EXPECT_EQ(received.problem_type, task.problem_type);
  EXPECT_EQ(received.labels.names(), task.labels.names());
  EXPECT_EQ(received.train.digest(), task.train.digest());
  EXPECT_EQ(received.train.truncated(), task.train.truncated());
  EXPECT_EQ(received.dev.digest(), task.dev.digest());
  EXPECT_EQ(received.dev.size(), 100);
  EXPECT_EQ(received.test.digest(), task.test.digest());
  ASSERT_EQ(received.ood.size(), 1U);
  EXPECT_EQ(received.ood[0].first, "other");
  EXPECT_EQ(received.ood[0].second.digest(), task.ood[0].second.digest());
  EXPECT_EQ(received.columns, task.columns);
  EXPECT_THAT(received.notes, Not(IsEmpty()));
  EXPECT_EQ(received.notes, task.notes);
}

}  // namespace
}  // namespace dtrain::data
