// What one rank of a node reads for all of it. The nodes are made up: their ranks are on this machine.

#include "launcher/node_share.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/mpi/mpi_communicator.h"
#include "launcher/session/agreement.h"
#include "model/formats/safetensors.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "tests/base/temporary_directory.h"
#include "tests/data/small_model.h"
#include "tests/model/reference_case.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;

class CountingTokenizer final : public data::Tokenizer {
 public:
  data::TokenizedText tokenize(std::string_view text, const std::string_view* pair,
                               std::int32_t max_length) const override {
    ++tokenized;
    return letters_->tokenize(text, pair, max_length);
  }
  std::int64_t vocabulary_size() const override { return letters_->vocabulary_size(); }
  std::string digest() const override { return letters_->digest(); }

  mutable std::atomic<std::int64_t> tokenized{0};

 private:
  std::unique_ptr<data::Tokenizer> letters_ = data::letter_tokenizer();
};

// Names that are not absolute begin there for a while.
class InFolder {
 public:
  explicit InFolder(const fs::path& folder) { fs::current_path(folder); }
  ~InFolder() { fs::current_path(before_); }
  InFolder(const InFolder&) = delete;
  InFolder& operator=(const InFolder&) = delete;

 private:
  fs::path before_ = fs::current_path();
};

constexpr std::int64_t kTrainRows = 600;
constexpr std::int64_t kTestRows = 30;

/// With the number of nodes that the ranks are dealt to.
class NodeShare : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (nodes > size) GTEST_SKIP() << "not run: fewer ranks than nodes";
  }
  // What a rank has put into its folder may be mapped by others.
  void TearDown() override { world->barrier(); }

  bool leads() const { return world->rank() == node; }

  std::int64_t sum_over_ranks(std::int64_t mine) const {
    const auto sum = at::tensor({mine}, at::kLong);
    world->all_reduce(sum);
    return sum.item<std::int64_t>();
  }

  bool alike(const at::Tensor& tensor) const {
    const auto all = world->all_gather(tensor.contiguous().view({1, -1}));
    return at::equal(all, all[0].expand_as(all));
  }

  /// What `call` throws on this rank.
  template <typename Call>
  static std::string error_of(const Call& call) {
    try {
      call();
    } catch (const Error& error) {
      return fmt::format("{}: {}", error.exit_code(), error.what());
    }
    return "no error";
  }

  /// "rank 2: ", as the error of a rank that leads the last node begins.
  std::string last_leader_prefix() const {
    const int last = size / nodes * (nodes - 1);
    return last == 0 ? "" : fmt::format("rank {}: ", last);
  }
  bool leads_last() const { return leads() && node == size / nodes * (nodes - 1); }

  /// From files that this rank alone has.
  data::Task load(const fs::path& cache) const {
    std::string train, test;
    for (std::int64_t i = 0; i < kTrainRows; ++i)
      train +=
          fmt::format("{}\t{} {}\n", i % 3 == 0 ? "a" : "b", std::string(1 + i % 6, 'x'), std::string(1 + i % 7, 'y'));
    for (std::int64_t i = 0; i < kTestRows; ++i) test += fmt::format("a\t{}\n", std::string(1 + i % 5, 'z'));
    const data::TaskFiles files{.name = "small",
                                .train = folder.file("train.tsv", train),
                                .dev = {},
                                .test = folder.file("test.tsv", test),
                                .ood = {},
                                .columns = {},
                                .hold_out_dev = true};
    return data::load_task(files, tokenizer, {.max_length = 8, .threads = 2, .cache_directory = cache}, {});
  }

  /// A model of this rank alone: transformers' checkpoint where this rank leads its node, else one of which half of the
  /// weights are zero.
  fs::path own_model() const {
    const fs::path model = folder.path() / "model";
    fs::create_directories(model);
    for (const char* name : {"config.json", "model.safetensors"})
      fs::copy_file(model::reference_directory() / "odd_relu" / name, model / name);
    if (!leads()) clear_half_of(model);
    return model;
  }
  static void clear_half_of(const fs::path& directory) {
    const fs::path path = directory / "model.safetensors";
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    const model::SafetensorsFile file(path);
    for (const std::string& name : file.names()) {
      tensors.emplace_back(name, file.tensor(name));
      if (tensors.size() % 2 == 0) tensors.back().second.zero_();
    }
    model::write_safetensors(path, tensors);
  }

  static at::Tensor values_of(model::Classifier& classifier) {
    std::vector<at::Tensor> values;
    for (const model::Parameter* parameter : classifier.stored_parameters())
      values.push_back(parameter->value().flatten());
    return at::cat(values);
  }

  const std::unique_ptr<dist::Communicator> world = dist::make_mpi_communicator(MPI_COMM_WORLD, 60s);
  const int size = world->size();
  const int nodes = GetParam();
  const int node = nodes > size ? 0 : world->rank() / (size / nodes) * (size / nodes);
  const TemporaryDirectory folder;
  const CountingTokenizer tokenizer;
};

INSTANTIATE_TEST_SUITE_P(OfOneAndTwo, NodeShare, testing::Values(1, 2));

TEST_P(NodeShare, OneRankOfANodeTokenizesAndAllHaveTheSameTokens) {
  for (const char* cache : {"", "cache"}) {
    SCOPED_TRACE(cache);
    tokenizer.tokenized = 0;
    const data::Task task =
        share_task(*world, node, 0s, [&] { return load(*cache == '\0' ? fs::path() : folder.path() / cache); }, {});
    EXPECT_EQ(tokenizer.tokenized.load(), leads() ? kTrainRows + kTestRows : 0);
    EXPECT_EQ(sum_over_ranks(tokenizer.tokenized), nodes * (kTrainRows + kTestRows));
    EXPECT_EQ(task.labels.names(), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(task.train.size() + task.dev.size(), kTrainRows);
    EXPECT_EQ(task.dev.size(), 100);
    EXPECT_EQ(task.test.size(), kTestRows);
    std::vector<std::int64_t> all;
    for (const data::TokenDataset* split : {&task.train, &task.dev, &task.test}) {
      for (std::int64_t i = 0; i < split->size(); ++i) {
        const auto ids = split->example(i).ids;
        all.insert(all.end(), ids.begin(), ids.end());
        all.push_back(-1 - split->targets().class_of(i));
      }
    }
    EXPECT_TRUE(alike(at::tensor(all)));
    for (const std::string& digest : gather_texts(*world, task.train.digest() + task.dev.digest()))
      EXPECT_EQ(digest, task.train.digest() + task.dev.digest());
  }
}

TEST_P(NodeShare, TokensOfACacheThatARankCannotOpenAreSentAndThatIsSaidOnce) {
  std::vector<std::string> warnings;
  Log log;
  log.warning = [&](std::string_view text) { warnings.emplace_back(text); };
  data::Task task;
  {
    // A cache "tokens" that each rank has in a folder of its own.
    const InFolder own(folder.path());
    task = share_task(
        *world, node, 0s, [&] { return load("tokens"); }, log);
  }
  EXPECT_EQ(fs::exists(folder.path() / "tokens"), leads());
  EXPECT_EQ(sum_over_ranks(tokenizer.tokenized), nodes * (kTrainRows + kTestRows));
  EXPECT_EQ(task.train.size() + task.dev.size(), kTrainRows);
  const std::string digests = task.train.digest() + task.dev.digest() + task.test.digest();
  for (const std::string& digest : gather_texts(*world, digests)) EXPECT_EQ(digest, digests);
  if (size == nodes) {
    EXPECT_TRUE(warnings.empty());
  } else {
    ASSERT_EQ(warnings.size(), 1U);
    EXPECT_THAT(warnings[0],
                testing::AllOf(HasSubstr("rank 1: cannot open tokens/"), HasSubstr("sends the tokens instead")));
  }
}

TEST_P(NodeShare, WhatOneRankCannotReadIsTheErrorOfEveryRank) {
  const auto refuse = [&]() -> data::Task {
    if (leads_last()) throw InputError("train.tsv:7: no label");
    return load({});
  };
  EXPECT_EQ(error_of([&] { share_task(*world, node, 0s, refuse, {}); }),
            fmt::format("3: {}train.tsv:7: no label", last_leader_prefix()));
  // And the ranks go on together.
  EXPECT_EQ(share_task(*world, node, 0s, [&] { return load({}); }, {}).test.size(), kTestRows);
}

TEST_P(NodeShare, ALongReadingIsWaitedForBeyondTheTimeout) {
  const auto impatient = dist::make_mpi_communicator(MPI_COMM_WORLD, 1s);
  impatient->barrier();
  const auto slow = [&] {
    std::this_thread::sleep_for(1500ms);
    return load({});
  };
  EXPECT_EQ(share_task(*impatient, node, 30s, slow, {}).test.size(), kTestRows);
  EXPECT_EQ(impatient->timeout(), 1s);
}

TEST_P(NodeShare, OneRankOfANodeReadsTheWeightsAndAllComputeWithThem) {
  const model::LoadOptions from_file{.directory = model::reference_directory() / "odd_relu",
                                     .pooling = model::Pooling::mean,
                                     .classes = 3,
                                     .head_seed = 4};
  const auto expected = values_of(*model::load_classifier(from_file));
  auto options = from_file;
  options.directory = own_model();
  EXPECT_EQ(at::equal(values_of(*model::load_classifier(options)), expected), leads());
  options.weights = share_weights(*world, node, options);
  for (int trial = 0; trial < 2; ++trial)
    EXPECT_TRUE(at::equal(values_of(*model::load_classifier(options)), expected)) << trial;
}

TEST_P(NodeShare, OneRankOfANodeReadsWhatARunHasTrained) {
  for (const char* method : {"full", "lora"}) {
    SCOPED_TRACE(method);
    const TemporaryDirectory mine;
    const fs::path base = mine.path() / "base";
    fs::copy(model::reference_directory() / "odd_relu", base);
    const auto trained =
        model::load_classifier({.directory = base, .pooling = model::Pooling::mean, .classes = 3, .head_seed = 4});
    const auto spec = peft::parse_method_spec(method);
    peft::make_method(spec)->attach(*trained, {.seed = 1});
    const auto expected = values_of(*trained);
    const fs::path saved = peft::save_trained(*trained, spec, {"a", "b", "c"}, base, mine.path());
    if (!leads()) clear_half_of(saved.filename() == "model" ? saved : base);
    EXPECT_EQ(at::equal(values_of(*peft::load_trained(saved, {}, {}, at::kCPU, {}).classifier), expected), leads());
    const auto read = [&](const model::LoadOptions& options) { return share_weights(*world, node, options); };
    EXPECT_TRUE(
        at::equal(values_of(*peft::load_trained(saved, {}, {}, at::kCPU, {}, {}, {}, read).classifier), expected));

    if (leads_last()) fs::remove((saved.filename() == "model" ? saved : base) / "model.safetensors");
    const auto error = error_of([&] { peft::load_trained(saved, {}, {}, at::kCPU, {}, {}, {}, read); });
    EXPECT_THAT(error, HasSubstr("no model.safetensors there"));
    for (const std::string& other : gather_texts(*world, error)) EXPECT_EQ(other, error);
    world->barrier();
  }
}

TEST_P(NodeShare, WeightsThatOneRankCannotReadAreTheErrorOfEveryRank) {
  const fs::path model = own_model();
  if (leads_last()) fs::remove(model / "model.safetensors");
  const auto error = error_of(
      [&] { share_weights(*world, node, {.directory = model, .pooling = model::Pooling::mean, .classes = 3}); });
  EXPECT_THAT(error, testing::StartsWith("3: " + last_leader_prefix()));
  EXPECT_THAT(error, HasSubstr("no model.safetensors there"));
  for (const std::string& other : gather_texts(*world, error)) EXPECT_EQ(other, error);
}

TEST_P(NodeShare, NodesThatReadOtherWeightsAreRefusedOnEveryRank) {
  if (nodes == 1) GTEST_SKIP() << "not run: one node";
  const fs::path model = own_model();
  if (leads_last()) clear_half_of(model);
  const auto error = error_of(
      [&] { share_weights(*world, node, {.directory = model, .pooling = model::Pooling::mean, .classes = 3}); });
  EXPECT_THAT(error, HasSubstr(fmt::format("rank {} reads other weights there than rank 0", size / nodes)));
}

TEST(ReadingTime, IsASecondAMebibyteOfWhatIsThere) {
  const TemporaryDirectory folder;
  const auto file = folder.file("file", std::string(3 << 20, 'x'));
  folder.file("other", std::string(2 << 20, 'x'));
  EXPECT_EQ(reading_time({file, folder.path() / "missing", ""}), 3s);
  EXPECT_EQ(reading_time({folder.path()}), 5s);
}

}  // namespace
}  // namespace dtrain::launcher
