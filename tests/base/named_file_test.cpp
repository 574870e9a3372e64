#include "base/named_file.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <string>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class NamedFile : public testing::Test {
 protected:
  NamedFile() {
    fs::create_directories(model / "1_Pooling");
    temporary.file("outside", "");
    temporary.file("model/inside", "");
  }
  std::string refusal(const std::string& name) const {
    return failure_of<InputError>([&] { named_file(model, name, "index.json: a"); });
  }

  const TemporaryDirectory temporary;
  const fs::path model = temporary.path() / "model";
};

TEST_F(NamedFile, LiesInTheDirectoryOrBelowIt) {
  EXPECT_EQ(named_file(model, "inside", "x"), model / "inside");
  EXPECT_EQ(named_file(model, "1_Pooling/config.json", "x"), model / "1_Pooling" / "config.json")
      << "it may be missing";
  EXPECT_EQ(named_file(model, "a..b", "x"), model / "a..b");
}

TEST_F(NamedFile, ThatLeadsOutOfTheDirectoryIsRefusedWithItsPlace) {
  for (const char* name : {"../outside", "..", "1_Pooling/../../outside", "/etc/passwd", ""}) {
    EXPECT_THAT(refusal(name),
                AllOf(StartsWith("index.json: a: expected the name of a file beside this one"), HasSubstr(name)))
        << name;
  }
  EXPECT_THAT(refusal(std::string("inside\0x", 8)), HasSubstr("expected the name of a file"));
}

TEST_F(NamedFile, ThatIsALinkOutOfTheDirectoryIsRefusedWithWhereItLeads) {
  fs::create_symlink("../outside", model / "file");
  fs::create_symlink("..", model / "folder");
  for (const char* name : {"file", "folder/outside"})
    EXPECT_THAT(refusal(name), AllOf(HasSubstr("found a symbolic link that leads to"), HasSubstr("outside"))) << name;
  fs::create_symlink("inside", model / "within");
  EXPECT_EQ(named_file(model, "within", "x"), model / "within");
}

TEST_F(NamedFile, OfASnapshotOfTheHuggingFaceCacheMayBeAmongItsBlobs) {
  const fs::path snapshot = temporary.path() / "models--a" / "snapshots" / "0123";
  fs::create_directories(snapshot);
  fs::create_directories(snapshot.parent_path().parent_path() / "blobs");
  temporary.file("models--a/blobs/4567", "");
  fs::create_symlink("../../blobs/4567", snapshot / "model-1.safetensors");
  EXPECT_EQ(named_file(snapshot, "model-1.safetensors", "x"), snapshot / "model-1.safetensors");
  fs::create_symlink("../../../outside", snapshot / "model-2.safetensors");
  EXPECT_THAT(failure_of<InputError>([&] { named_file(snapshot, "model-2.safetensors", "x"); }), HasSubstr("leads to"));
}

}  // namespace
}  // namespace dtrain
