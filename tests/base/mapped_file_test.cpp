#include "base/mapped_file.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain {
namespace {

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, HoldsTheBytesOfTheFile) {
  const TemporaryDirectory directory;
  const std::string content("a\0b", 3);
  EXPECT_EQ(text_of(MappedFile(directory.file("file", content))), content);
}

TEST(MappedFile, OfAnEmptyFileIsEmpty) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(MappedFile(directory.file("file", "")).bytes().empty());
}

TEST(MappedFile, KeepsTheBytesWhenTheNameIsGone) {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "kept");
  const MappedFile file(path);
  std::filesystem::remove(path);
  EXPECT_EQ(text_of(file), "kept");
}

TEST(MappedFile, CanBeMoved) {
  const TemporaryDirectory directory;
  MappedFile first(directory.file("first", "first"));
  MappedFile second(directory.file("second", "second"));
  MappedFile third(std::move(first));
  EXPECT_EQ(text_of(third), "first");
  third = std::move(second);
  EXPECT_EQ(text_of(third), "second");
}

TEST(MappedFile, NamesWhatCannotBeMapped) {
  const TemporaryDirectory directory;
  const auto missing = directory.path() / "missing";
  EXPECT_EQ(failure_of<InputError>([&] { MappedFile file(missing); }),
            "cannot open " + missing.string() + ": No such file or directory");
  EXPECT_EQ(failure_of<InputError>([&] { MappedFile file(directory.path()); }),
            "cannot read " + directory.path().string() + ": expected a regular file");
  const auto pipe = directory.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(failure_of<InputError>([&] { MappedFile file(pipe); }), testing::HasSubstr("expected a regular file"));
}

}  // namespace
}  // namespace dtrain
