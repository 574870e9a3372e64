#include "data/token_dataset.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>

#include "base/atomic_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "data/row_targets.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"
#include "tests/data/small_model.h"

namespace dtrain::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

LabelledTexts texts_of(std::int64_t count) {
  LabelledTexts texts;
  texts.has_pairs = true;
  texts.has_labels = true;
  for (std::int64_t i = 0; i < count; ++i) {
    texts.rows.push_back({.text = std::string(static_cast<std::size_t>(1 + i % 7), static_cast<char>('a' + i % 26)),
                          .pair = i % 3 == 0 ? "" : "pair",
                          .label = i % 2 == 0 ? "even" : "odd",
                          .line = i + 1});
  }
  return texts;
}

class TokenCache : public testing::Test {
 protected:
  TokenDataset tokenized(const LabelledTexts& texts, int threads = 1) {
    return tokenize(texts, targets_of(texts, type, labels, "data", false), *tokenizer,
                    {.max_length = 10, .threads = threads, .cache_directory = cache}, log);
  }
  std::filesystem::path cache_file() const {
    const auto names = directory.names();
    EXPECT_EQ(names.size(), 1U);
    return directory.path() / names.at(0);
  }

  const TemporaryDirectory directory;
  std::filesystem::path cache = directory.path();
  const ProblemType type = ProblemType::single_label_classification;
  const LabelMap labels{{"even", "odd"}};
  const std::unique_ptr<Tokenizer> tokenizer = letter_tokenizer();
  std::vector<std::string> warnings;
  const Log log{.line = {}, .warning = [this](std::string_view text) { warnings.emplace_back(text); }, .progress = {}};
};

void expect_equal(const TokenDataset& left, const TokenDataset& right) {
  ASSERT_EQ(left.size(), right.size());
  for (std::int64_t i = 0; i < left.size(); ++i) {
    const auto a = left.example(i);
    const auto b = right.example(i);
    ASSERT_TRUE(std::equal(a.ids.begin(), a.ids.end(), b.ids.begin(), b.ids.end())) << i;
    ASSERT_EQ(a.second_segment, b.second_segment) << i;
    ASSERT_EQ(left.targets().class_of(i), right.targets().class_of(i)) << i;
  }
  ASSERT_EQ(left.truncated(), right.truncated());
  ASSERT_EQ(left.digest(), right.digest());
}

TEST_F(TokenCache, HoldsWhatTheTokenizerGives) {
  const auto texts = texts_of(2000);
  const TokenDataset dataset = tokenized(texts);
  ASSERT_EQ(dataset.size(), 2000);
  std::int64_t truncated = 0;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const auto& row = texts.rows[static_cast<std::size_t>(i)];
    const std::string_view pair = row.pair;
    const TokenizedText expected = tokenizer->tokenize(row.text, &pair, 10);
    const auto found = dataset.example(i);
    ASSERT_EQ(std::vector(found.ids.begin(), found.ids.end()), expected.ids) << i;
    ASSERT_EQ(found.second_segment, expected.second_segment) << i;
    ASSERT_EQ(dataset.targets().class_of(i), i % 2) << i;
    truncated += expected.truncated ? 1 : 0;
  }
  EXPECT_GT(truncated, 0);
  EXPECT_EQ(dataset.truncated(), truncated);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(TokenCache, GivesTheSameAgainAndFromMemoryAndWithAnyNumberOfThreads) {
  const auto texts = texts_of(3000);
  const TokenDataset written = tokenized(texts);
  const auto time = std::filesystem::last_write_time(cache_file());
  const TokenDataset read = tokenized(texts);
  EXPECT_EQ(std::filesystem::last_write_time(cache_file()), time);
  expect_equal(written, read);
  cache.clear();
  expect_equal(written, tokenized(texts));
  expect_equal(written, tokenized(texts, 4));
}

TEST_F(TokenCache, IsAnotherForOtherTextsOrOptionsAndTheSameForOtherLabels) {
  auto texts = texts_of(10);
  tokenized(texts);
  texts.rows[3].text += "x";
  tokenized(texts);
  const auto before = tokenized(texts);
  texts.rows[3].label = "even";
  const auto after = tokenized(texts);
  EXPECT_EQ(before.targets().class_of(3), 1);
  EXPECT_EQ(after.targets().class_of(3), 0);
  EXPECT_NE(before.digest(), after.digest());
  EXPECT_EQ(directory.names().size(), 2U);
  texts.has_pairs = false;
  tokenized(texts);
  tokenize(texts, after.targets(), *tokenizer, {.max_length = 11, .threads = 1, .cache_directory = cache}, log);
  EXPECT_EQ(directory.names().size(), 4U);
}

TEST_F(TokenCache, ThatIsDamagedIsSaidAndWrittenAnew) {
  const auto texts = texts_of(40);
  const TokenDataset whole = tokenized(texts);
  const std::string content = read_file(cache_file());
  std::mt19937 random(3);
  for (int round = 0; round < 150; ++round) {
    std::string damaged = content;
    if (round % 10 == 0) {
      damaged.resize(random() % damaged.size());  // torn
    } else if (round % 10 == 1) {
      damaged += "more";
    } else {
      // The header, whose numbers decide what is read where, as often as all the rest.
      const std::size_t place = random() % (round % 2 == 0 ? 48 : damaged.size());
      damaged[place] = static_cast<char>(damaged[place] ^ (1 << random() % 8));
    }
    const auto path = cache_file();
    directory.file(path.filename(), damaged);
    warnings.clear();
    expect_equal(tokenized(texts), whole);
    ASSERT_THAT(warnings, ElementsAre(HasSubstr("is damaged; tokenizing again"))) << round;
    ASSERT_EQ(read_file(cache_file()), content) << round;
  }
}

// A cache whose digest is right, whatever it holds: a digest is no signature.
std::string with_its_digest(std::string content) {
  Digest digest;
  digest.add(content.data(), 32);
  digest.add(content.data() + 48, content.size() - 48);
  const Digest::Value value = digest.value();
  std::memcpy(content.data() + 32, &value, sizeof value);
  return content;
}

TEST_F(TokenCache, ThatSomebodyMadeToBeReadBeyondItsEndIsDamaged) {
  const auto texts = texts_of(40);
  const TokenDataset whole = tokenized(texts);
  const std::string content = read_file(cache_file());
  ASSERT_EQ(with_its_digest(content), content) << "the test knows another layout than the cache";
  const std::size_t examples = 12;
  const std::size_t tokens = 16;
  const std::size_t offsets = 48;
  const std::size_t seconds = offsets + 41 * 4;
  const std::size_t ids = seconds + 40 * 4;
  std::uint64_t count = 0;
  std::memcpy(&count, content.data() + tokens, sizeof count);
  const auto refused = [&](const char* what, const auto& change) {
    std::string crafted = content;
    const auto put = [&](std::size_t place, auto number) {
      std::memcpy(crafted.data() + place, &number, sizeof number);
    };
    change(crafted, put);
    directory.file(cache_file().filename(), with_its_digest(std::move(crafted)));
    warnings.clear();
    expect_equal(tokenized(texts), whole);
    EXPECT_THAT(warnings, ElementsAre(HasSubstr("is damaged; tokenizing again"))) << what;
    EXPECT_EQ(read_file(cache_file()), content) << what;
  };
  refused("more examples than rows", [&](auto&, auto put) { put(examples, std::uint32_t{41}); });
  refused("fewer, in a file of the right size", [&](auto&, auto put) {
    put(examples, std::uint32_t{39});
    put(tokens, count + 2);
  });
  refused("more tokens than ids", [&](auto&, auto put) { put(tokens, count + 1); });
  refused("a size that is right but for an overflow",
          [&](auto&, auto put) { put(tokens, count + (std::uint64_t{1} << 62)); });
  refused("more cut texts than texts", [&](auto&, auto put) { put(std::size_t{24}, std::uint64_t{41}); });
  refused("ids without their end", [&](auto& crafted, auto) { crafted.resize(crafted.size() - 4); });
  refused("ids after their end", [&](auto& crafted, auto) { crafted += "more"; });
  refused("a first offset that is not 0", [&](auto&, auto put) { put(offsets, std::uint32_t{1}); });
  refused("a last offset beyond the ids",
          [&](auto&, auto put) { put(seconds - 4, static_cast<std::uint32_t>(count + 1)); });
  refused("an offset beyond the ids", [&](auto&, auto put) { put(offsets + 4, UINT32_MAX); });
  refused("an offset before the one before", [&](auto&, auto put) { put(offsets + 8, std::uint32_t{0}); });
  refused("a text longer than --max-length", [&](auto& crafted, auto) {
    for (int i = 1; i < 6; ++i) std::memcpy(crafted.data() + offsets + 4 * i, crafted.data() + offsets + 24, 4);
  });
  refused("a second segment before the first", [&](auto&, auto put) { put(seconds, -1); });
  refused("a second segment after the end", [&](auto&, auto put) { put(seconds, 11); });
  refused("an id below 0", [&](auto&, auto put) { put(ids, -1); });
  refused("an id that is no token's",
          [&](auto&, auto put) { put(ids, static_cast<std::int32_t>(tokenizer->vocabulary_size())); });
}

TEST_F(TokenCache, ThatCannotBeWrittenOrReadIsSaidAndDoneWithout) {
  const auto texts = texts_of(10);
  cache = directory.file("file", "") / "below";
  EXPECT_EQ(tokenized(texts).size(), 10);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("no token cache: cannot create the directory")));
  // Where the name cannot even be looked up.
  warnings.clear();
  cache = directory.path() / "loop";
  std::filesystem::create_symlink("loop", cache);
  EXPECT_EQ(tokenized(texts).size(), 10);
  EXPECT_THAT(warnings, testing::Contains(HasSubstr("no token cache")));
}

// What another process of the machine makes of it.
class Sent {
 public:
  explicit Sent(const TokenDataset& dataset, CachedTokens cached = CachedTokens::by_name) {
    ImageWriter image;
    dataset.add_to(image, cached);
    bytes_.resize(image.size());
    image.write(bytes_);
  }
  std::size_t size() const { return bytes_.size(); }
  TokenDataset received() const {
    ImageReader image(bytes_, nullptr);
    return TokenDataset::from(image);
  }

 private:
  std::vector<std::byte> bytes_;
};

TEST_F(TokenCache, GivesAnotherProcessTheSameFromTheFileAndFromMemory) {
  const auto texts = texts_of(3000);
  const TokenDataset cached = tokenized(texts);
  const Sent by_name(cached);
  expect_equal(by_name.received(), cached);
  const Sent part(cached.subset({2, 0, 2999, 17}));
  expect_equal(part.received(), cached.subset({2, 0, 2999, 17}));
  cache.clear();
  const Sent whole(tokenized(texts));
  expect_equal(whole.received(), cached);
  EXPECT_GT(whole.size(), by_name.size() + 3000 * 4 * sizeof(std::int32_t));
  EXPECT_EQ(Sent(TokenDataset()).received().size(), 0);
}

TEST_F(TokenCache, ThatIsAnotherByNowIsRefusedByAnotherProcess) {
  const auto texts = texts_of(10);
  const Sent sent(tokenized(texts));
  directory.file(cache_file().filename(), read_file(cache_file()) + "more");
  EXPECT_THAT(failure_of<InputError>([&] { sent.received(); }), HasSubstr("is another here, or has changed since"));
  auto content = read_file(cache_file());
  content.resize(content.size() - 4);
  content.back() = static_cast<char>(content.back() + 1);
  directory.file(cache_file().filename(), content);
  EXPECT_THAT(failure_of<InputError>([&] { sent.received(); }), HasSubstr("is another here, or has changed since"));
  std::filesystem::remove(cache_file());
  EXPECT_THAT(failure_of<InputError>([&] { sent.received(); }), HasSubstr("cannot open"));
}

TEST_F(TokenCache, IsSentAsItIsToAProcessThatCannotOpenIt) {
  const TokenDataset cached = tokenized(texts_of(3000));
  const Sent whole(cached, CachedTokens::by_value);
  const Sent part(cached.subset({5, 1}), CachedTokens::by_value);
  std::filesystem::remove(cache_file());
  expect_equal(whole.received(), cached);
  expect_equal(part.received(), cached.subset({5, 1}));
  // And on to a third.
  expect_equal(Sent(whole.received()).received(), cached);
}

TEST_F(TokenCache, IsReadableByItsOwnerAlone) {
  cache = directory.path() / "cache";
  const mode_t before = umask(0);
  tokenized(texts_of(5));
  umask(before);
  EXPECT_EQ(std::filesystem::status(cache).permissions(), std::filesystem::perms(0700));
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(cache)) {
    EXPECT_EQ(entry.status().permissions(), std::filesystem::perms(0600)) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 1U);
}

TEST_F(TokenCache, OfNoRowsIsEmpty) {
  EXPECT_EQ(tokenized({}).size(), 0);
  EXPECT_EQ(tokenized({}).size(), 0);
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_EQ(TokenDataset().size(), 0);
}

TEST_F(TokenCache, PassesOnWhatATokenizerThrowsInAnyThread) {
  EXPECT_THAT(failure_of<UsageError>([&] {
                tokenize(texts_of(5000), Targets(), *tokenizer, {.max_length = 1, .threads = 4, .cache_directory = {}},
                         log);
              }),
              HasSubstr("--max-length 1"));
}

TEST_F(TokenCache, SubsetsAreViewsThatCompose) {
  const TokenDataset all = tokenized(texts_of(20));
  const TokenDataset part = all.subset({19, 3, 3, 7});
  ASSERT_EQ(part.size(), 4);
  EXPECT_EQ(part.example(0).ids.data(), all.example(19).ids.data());
  const TokenDataset of_part = part.subset({3, 0});
  EXPECT_EQ(of_part.example(0).ids.data(), all.example(7).ids.data());
  EXPECT_EQ(of_part.example(1).ids.data(), all.example(19).ids.data());
  EXPECT_EQ(of_part.digest(), all.subset({7, 19}).digest());
  EXPECT_NE(of_part.digest(), all.subset({19, 7}).digest());
  EXPECT_NE(part.digest(), all.digest());
}

TEST_F(TokenCache, LeavesRowsWithoutAKnownLabelUnlabelled) {
  auto texts = texts_of(2);
  texts.rows[1].label = "prime";
  const TokenDataset dataset = tokenized(texts);
  EXPECT_EQ(dataset.targets().class_of(0), 0);
  EXPECT_EQ(dataset.targets().class_of(1), -1);
}

}  // namespace
}  // namespace dtrain::data
