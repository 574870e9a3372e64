#include "base/directory_lock.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace fs = std::filesystem;

TEST(DirectoryLock, KeepsASecondOneOutUntilItEndsAndNamesItsHolder) {
  const TemporaryDirectory directory;
  std::optional<DirectoryLock> first(std::in_place, directory.path(), "train");
  EXPECT_THAT(failure_of<UsageError>([&] { DirectoryLock(directory.path(), "compare"); }),
              AllOf(HasSubstr("another dtrain works in " + directory.path().string()),
                    HasSubstr("(train, process " + std::to_string(getpid()) + " on "), HasSubstr("--output")));
  EXPECT_THAT(directory.names(), ElementsAre(DirectoryLock::kFile)) << "the one that was refused took nothing along";
  first.reset();
  EXPECT_NO_THROW(DirectoryLock(directory.path(), "train"));
}

TEST(DirectoryLock, LeavesNothingBehind) {
  const TemporaryDirectory directory;
  directory.file("thesis.tex", "mine");
  { const DirectoryLock lock(directory.path(), "train"); }
  EXPECT_THAT(directory.names(), ElementsAre("thesis.tex"));
  { const DirectoryLock lock(directory.path() / "a" / "b", "train"); }
  EXPECT_FALSE(fs::exists(directory.path() / "a")) << "the lock made it";
  {
    const DirectoryLock lock(directory.path() / "a" / "b", "train");
    directory.file("a/results.json", "{}");
  }
  EXPECT_FALSE(fs::exists(directory.path() / "a" / "b"));
  EXPECT_TRUE(fs::exists(directory.path() / "a" / "results.json"));
}

TEST(DirectoryLock, OfAProcessThatWasKilledLocksNobodyOut) {
  const TemporaryDirectory directory;
  const pid_t child = fork();
  if (child == 0) {
    const DirectoryLock lock(directory.path(), "train");
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(fs::exists(directory.path() / DirectoryLock::kFile));
  EXPECT_THAT(DirectoryLock(directory.path(), "train").found(),
              HasSubstr("train, process " + std::to_string(child) + " on "));
  EXPECT_THAT(directory.names(), IsEmpty());
  EXPECT_EQ(DirectoryLock(directory.path(), "train").found(), "");
}

TEST(DirectoryLock, OfADirectoryThatCannotBeMadeIsAUsageError) {
  const TemporaryDirectory directory;
  const auto file = directory.file("file", "");
  EXPECT_THAT(failure_of<UsageError>([&] { DirectoryLock(file / "below", "train"); }), HasSubstr("Not a directory"));
}

TEST(DirectoryLock, IsNotHeldWhereTheFileSystemHasNoLocks) {
  const TemporaryDirectory directory;
  const auto refused = [](int, int) {
    errno = ENOSYS;
    return -1;
  };
  {
    const DirectoryLock first(directory.path(), "train", refused);
    EXPECT_FALSE(first.is_held());
    EXPECT_EQ(first.found(), "");
    {
      // Nobody is kept out, but who came before is named, and the file is that of the last.
      const DirectoryLock second(directory.path(), "compare", refused);
      EXPECT_EQ(second.found(), first.signature());
    }
    EXPECT_THAT(directory.names(), IsEmpty());
    const DirectoryLock third(directory.path(), "evaluate", refused);
  }
  EXPECT_THAT(directory.names(), IsEmpty());
  EXPECT_TRUE(DirectoryLock(directory.path(), "train").is_held());
  EXPECT_THAT(failure_of<UsageError>([&] {
                DirectoryLock(directory.path(), "train", [](int, int) {
                  errno = EIO;
                  return -1;
                });
              }),
              HasSubstr("cannot lock"));
}

TEST(DirectoryLock, IsNotTakenThroughALink) {
  const TemporaryDirectory directory;
  const auto elsewhere = directory.file("elsewhere", "theirs");
  fs::create_directory(directory.path() / "out");
  fs::create_symlink(elsewhere, directory.path() / "out" / DirectoryLock::kFile);
  EXPECT_THAT(failure_of<UsageError>([&] { DirectoryLock(directory.path() / "out", "train"); }),
              AllOf(HasSubstr(DirectoryLock::kFile), HasSubstr("symbolic link")));
  EXPECT_EQ(read_file(elsewhere), "theirs");
}

// Of many at once there is never more than one holder, though the file comes and goes.
TEST(DirectoryLock, IsHeldByOneOfManyAtATime) {
  const TemporaryDirectory directory;
  const fs::path output = directory.path() / "out";
  const fs::path inside = directory.path() / "inside";
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    int violations = 0;
    for (int turn = 0; turn < 300; ++turn) {
      try {
        const DirectoryLock lock(output, "train");
        if (mkdir(inside.c_str(), 0700) != 0) ++violations;
        rmdir(inside.c_str());
      } catch (const UsageError&) {
      }
    }
    _exit(violations == 0 ? 0 : 1);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

}  // namespace
}  // namespace dtrain
