#include "launcher/attach_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::launcher {
namespace {

TEST(AttachContext, TokenizesATextByTheTokenizerInADirectory) {
  const TemporaryDirectory folder;
  folder.file("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nwhich\nkind\nof\nword\n");
  const auto context = attach_context(7);
  EXPECT_EQ(context.seed, 7U);
  const auto tokens = context.tokenize("Which kind of word", folder.path());
  EXPECT_THAT(tokens, testing::ElementsAre(2, 5, 6, 7, 8, 3));
}

TEST(AttachContext, RefusesADirectoryWithoutATokenizer) {
  const TemporaryDirectory folder;
  EXPECT_THROW(attach_context(0).tokenize("word", folder.path()), InputError);
}

}  // namespace
}  // namespace dtrain::launcher
