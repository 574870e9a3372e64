#include "base/atomic_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// While it lives, no file of this process may grow beyond `bytes`: what a full disk does, for any user.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SmallDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(AtomicFile, TakesItsNameOnlyWhenCommitted) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "results.json";
  AtomicFile file(path);
  file.write("one, ");
  file.write("two");
  EXPECT_FALSE(std::filesystem::exists(path));
  file.commit();
  EXPECT_EQ(read_file(path), "one, two");
  EXPECT_THAT(directory.names(), ElementsAre("results.json"));
}

TEST(AtomicFile, LeavesWhatWasThereWhenItIsNotCommitted) {
  const TemporaryDirectory directory;
  const auto path = directory.file("results.json", "old");
  { AtomicFile(path).write("new"); }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_THAT(directory.names(), ElementsAre("results.json"));
}

TEST(AtomicFile, ReplacesWhatWasThere) {
  const TemporaryDirectory directory;
  const auto path = directory.file("results.json", "old and longer");
  write_file_atomically(path, "new");
  EXPECT_EQ(read_file(path), "new");
}

TEST(AtomicFile, OnAFullDiskSaysSoAndLeavesTheOldContentAndNothingElse) {
  const TemporaryDirectory directory;
  const auto path = directory.file("weights", "old");
  const std::string message = failure_of<TrainingError>([&] {
    const SmallDisk disk(5000);
    write_file_atomically(path, std::string(20'000, 'x'));
  });
  EXPECT_THAT(message, AllOf(HasSubstr("cannot write " + path.string()), HasSubstr("Free space")));
  EXPECT_EQ(read_file(path), "old");
  EXPECT_THAT(directory.names(), ElementsAre("weights"));
}

TEST(AtomicFile, LeavesTheOldContentWhenTheProcessIsKilledInTheMiddle) {
  const TemporaryDirectory directory;
  const auto path = directory.file("weights", "old");
  const pid_t child = fork();
  if (child == 0) {
    AtomicFile file(path);
    file.write("the first half of the new");
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(read_file(path), "old");
}

TEST(AtomicFile, NamesTheFileAndTheReasonWhenItCannotBeCreated) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "missing" / "file";
  EXPECT_THAT(failure_of<TrainingError>([&] { write_file_atomically(path, "x"); }),
              AllOf(HasSubstr("cannot create " + path.string()), HasSubstr("No such file or directory")));
}

TEST(AtomicFile, NamesTheFileWhenItsNameIsAFolders) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "folder";
  std::filesystem::create_directory(path);
  EXPECT_THAT(failure_of<TrainingError>([&] { write_file_atomically(path, "x"); }),
              AllOf(HasSubstr("cannot rename " + path.string()), HasSubstr("directory")));
  EXPECT_THAT(directory.names(), ElementsAre("folder"));
}

TEST(AtomicFile, ReplacesALinkAndFollowsNone) {
  const TemporaryDirectory directory;
  const auto elsewhere = directory.file("elsewhere", "theirs");
  const auto path = directory.path() / "results.json";
  std::filesystem::create_symlink(elsewhere, path);
  std::array<char, 65> host{};
  gethostname(host.data(), host.size() - 1);
  std::filesystem::create_symlink(elsewhere, fmt::format("{}.{}.{}.part", path.string(), host.data(), getpid()));
  write_file_atomically(path, "mine");
  EXPECT_EQ(read_file(elsewhere), "theirs");
  EXPECT_FALSE(std::filesystem::is_symlink(path));
  EXPECT_EQ(read_file(path), "mine");
}

TEST(AtomicFile, GivesAFileToWhomTheUmaskLetsOrToItsOwnerAlone) {
  namespace fs = std::filesystem;
  const TemporaryDirectory directory;
  const mode_t before = umask(027);
  write_file_atomically(directory.path() / "results.json", "x");
  AtomicFile cached(directory.path() / "cached", kOwnerAlone);
  cached.commit();
  ensure_private_directory(directory.path() / "a" / "cache");
  umask(before);
  const auto access = [&](const char* name) { return fs::status(directory.path() / name).permissions(); };
  EXPECT_EQ(access("results.json"), fs::perms(0640));
  EXPECT_EQ(access("cached"), fs::perms(0600));
  EXPECT_EQ(access("a"), fs::perms(0750));
  EXPECT_EQ(access("a/cache"), fs::perms(0700));
}

TEST(ReadFile, DoesNotWaitForAPipeUnlessItMay) {
  const TemporaryDirectory directory;
  const auto pipe = directory.path() / "config.json";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(failure_of<InputError>([&] { read_file(pipe); }),
            "cannot read " + pipe.string() + ": expected a regular file");
  EXPECT_THAT(failure_of<InputError>([&] { read_file("/dev/zero"); }), HasSubstr("expected a regular file"));
  std::thread writer([&] { std::ofstream(pipe) << "text"; });
  EXPECT_EQ(read_file(pipe, Readable::stream), "text");
  writer.join();
}

TEST(ReadFile, GivesEveryByte) {
  const TemporaryDirectory directory;
  std::string content;
  for (int i = 0; i < 300'000; ++i) content += static_cast<char>(i % 251);
  EXPECT_EQ(read_file(directory.file("all", content)), content);
  EXPECT_THAT(read_file(directory.file("nothing", "")), IsEmpty());
}

TEST(ReadFile, ReadsAFileThatDoesNotTellItsSize) {
  ASSERT_EQ(std::filesystem::file_size("/proc/self/status"), 0U);
  EXPECT_THAT(read_file("/proc/self/status"), AllOf(HasSubstr("Name:"), HasSubstr("nonvoluntary_ctxt_switches")));
}

TEST(ReadFile, NamesTheFileAndTheReason) {
  const TemporaryDirectory directory;
  const auto missing = directory.path() / "missing";
  EXPECT_EQ(failure_of<InputError>([&] { read_file(missing); }),
            "cannot read " + missing.string() + ": No such file or directory");
  EXPECT_EQ(failure_of<InputError>([&] { read_file(directory.path()); }),
            "cannot read " + directory.path().string() + ": Is a directory");
}

TEST(EnsureDirectory, CreatesParentsAndAcceptsWhatIsThere) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "a" / "b";
  ensure_directory(path);
  ensure_directory(path);
  EXPECT_TRUE(std::filesystem::is_directory(path));
}

TEST(MissingDirectories, AreTheInnermostFirst) {
  const TemporaryDirectory directory;
  const auto outer = directory.path() / "a";
  EXPECT_THAT(missing_directories(outer / "b" / ""), ElementsAre(outer / "b", outer));
  EXPECT_THAT(missing_directories(directory.path()), IsEmpty());
}

TEST(SyncFile, TakesAFileThatWasRemovedForDone) {
  const TemporaryDirectory directory;
  sync_file(directory.file("log.jsonl", "{}\n"));
  sync_file(directory.path() / "removed");
  EXPECT_THAT(failure_of<TrainingError>([&] { sync_file(directory.path()); }),
              AllOf(HasSubstr("cannot sync " + directory.path().string()), HasSubstr("Is a directory")));
}

TEST(TakeNameAway, RemovesFilesDirectoriesAndWhatWasLeftOfARemovalBefore) {
  const TemporaryDirectory directory;
  for (const bool is_file : {true, false}) {
    const auto path = directory.path() / "out";
    ensure_directory(directory.path() / "out.part" / "left");
    if (is_file) {
      write_file_atomically(path, "mine");
    } else {
      ensure_directory(path / "step-2");
      write_file_atomically(path / "step-2" / "state.json", "{}");
    }
    take_name_away(path);
    take_name_away(path);
    EXPECT_THAT(directory.names(), IsEmpty());
  }
}

TEST(TakeNameAway, RemovesALinkAndNotWhatItNames) {
  const TemporaryDirectory directory;
  const auto target = directory.file("target", "mine");
  std::filesystem::create_symlink(target, directory.path() / "out");
  take_name_away(directory.path() / "out");
  EXPECT_THAT(directory.names(), ElementsAre("target"));
  EXPECT_EQ(read_file(target), "mine");
}

TEST(EnsureDirectory, NamesAFileThatIsInTheWay) {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "") / "below";
  EXPECT_THAT(failure_of<UsageError>([&] { ensure_directory(path); }),
              AllOf(HasSubstr(path.string()), HasSubstr("Not a directory")));
}

}  // namespace
}  // namespace dtrain
