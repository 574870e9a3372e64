#include "base/digest.h"

#include <gtest/gtest.h>

#include <string>

namespace dtrain {
namespace {

TEST(Digest, IsThatOfXxhashsOwnProgram) {
  // printf abc | xxh128sum
  Digest digest;
  digest.add("abc", 3);
  EXPECT_EQ(digest.text(), "06b05ab6733a618578af5f94892f3950");
  EXPECT_EQ(Digest().text(), "99aa06d3014798d86001c324468d497f");
}

TEST(Digest, IsTheSameOfTheSameBytesInPieces) {
  Digest whole, pieces;
  whole.add("abcdef", 6);
  pieces.add("abc", 3);
  pieces.add("def", 3);
  EXPECT_EQ(whole.text(), pieces.text());
}

TEST(Digest, TellsListsOfTextsApart) {
  const auto of = [](std::string_view first, std::string_view second) {
    Digest digest;
    digest.add(first);
    digest.add(second);
    return digest.text();
  };
  EXPECT_NE(of("ab", "c"), of("a", "bc"));
  EXPECT_NE(of("abc", ""), of("", "abc"));
}

}  // namespace
}  // namespace dtrain
