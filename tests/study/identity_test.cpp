#include "study/journal/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::study {
namespace {

constexpr const char* kShards = R"({"weight_map": {"a": "one.bin", "b": "two.bin"}})";

// Another one with each file of the model, and the same whatever else lies beside them.
void expect_of(const TemporaryDirectory& directory, const std::vector<std::string>& loaded) {
  const std::string digest = model_digest(directory.path());
  directory.file("other.bin", "not loaded");
  directory.file("other.safetensors", "not loaded");
  EXPECT_EQ(model_digest(directory.path()), digest);
  for (const std::string& name : loaded) {
    directory.file(name, "changed");
    EXPECT_NE(model_digest(directory.path()), digest) << name;
    directory.file(name, name);
    EXPECT_EQ(model_digest(directory.path()), digest) << "of the content alone";
  }
}

TEST(ModelDigest, IsOfTheFilesThatAreLoaded) {
  const TemporaryDirectory directory;
  directory.file("config.json", "config.json");
  for (const char* shard : {"one.bin", "two.bin"}) directory.file(shard, shard);
  directory.file("pytorch_model.bin.index.json", kShards);
  expect_of(directory, {"config.json", "one.bin", "two.bin"});
  directory.file("pytorch_model.bin", "pytorch_model.bin");
  expect_of(directory, {"config.json", "pytorch_model.bin"});
  directory.file("model.safetensors", "model.safetensors");
  expect_of(directory, {"config.json", "model.safetensors"});
}

TEST(ModelDigest, IsThatOfEarlierVersions) {
  // A journal of theirs is gone on with.
  const TemporaryDirectory directory;
  directory.file("config.json", "{}");
  directory.file("model.safetensors", "weights");
  EXPECT_EQ(model_digest(directory.path()), "a3dc76d70d8278c3");
}

TEST(ModelDigest, IsNoneWithoutWeights) {
  const TemporaryDirectory directory;
  directory.file("config.json", "{}");
  EXPECT_THAT(failure_of<InputError>([&] { model_digest(directory.path()); }),
              testing::HasSubstr("no model.safetensors there"));
}

}  // namespace
}  // namespace dtrain::study
