#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

class Checkpoints : public testing::Test {
 protected:
  Checkpoint at_step(std::int64_t step) const {
    Checkpoint checkpoint;
    checkpoint.step = step;
    checkpoint.values = at::randn({17});
    checkpoint.first_moments = at::randn({17});
    checkpoint.second_moments = at::rand({17});
    checkpoint.best_step = step - 1;
    checkpoint.best_metric = 1.0 / 3;
    checkpoint.train_seconds = 12.5;
    checkpoint.identity = identity;
    return checkpoint;
  }

  std::optional<Checkpoint> read(const std::map<std::string, std::string>& expected) {
    Log log;
    log.warning = [this](std::string_view text) { warnings.emplace_back(text); };
    return read_checkpoint(directory, expected, log);
  }

  std::vector<std::string> kept() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  const TemporaryDirectory temporary;
  const fs::path directory = temporary.path() / "checkpoint";
  const std::map<std::string, std::string> identity = {{"method", "lora:r=4"}, {"seed", "3"}};
  std::vector<std::string> warnings;
};

TEST_F(Checkpoints, AreReadAsTheyWereWritten) {
  EXPECT_FALSE(read(identity));
  auto written = at_step(7);
  write_checkpoint(directory, written);
  const auto without_best = read(identity);
  ASSERT_TRUE(without_best);
  EXPECT_FALSE(without_best->best_values.defined());
  written.best_values = at::randn({17});
  write_checkpoint(directory, written);
  const auto checkpoint = read(identity);
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->step, 7);
  EXPECT_TRUE(at::equal(checkpoint->values, written.values));
  EXPECT_TRUE(at::equal(checkpoint->first_moments, written.first_moments));
  EXPECT_TRUE(at::equal(checkpoint->second_moments, written.second_moments));
  EXPECT_TRUE(at::equal(checkpoint->best_values, written.best_values));
  EXPECT_EQ(checkpoint->best_step, 6);
  EXPECT_EQ(checkpoint->best_metric, 1.0 / 3);
  EXPECT_EQ(checkpoint->train_seconds, 12.5);
  EXPECT_TRUE(warnings.empty());
}

TEST_F(Checkpoints, AreTheSameInAnotherProcess) {
  auto written = at_step(7);
  written.evaluation_due = true;
  written.passed_over = 2;
  written.flop = 1e12;
  written.values = written.values.to(at::kDouble);
  written.hooks = {{"importance", at::arange(6).view({2, 3})}};
  for (const bool has_best : {false, true}) {
    if (has_best) written.best_values = at::randn({17});
    ImageWriter image;
    written.add_to(image);
    std::vector<std::byte> bytes(image.size());
    image.write(bytes);
    ImageReader reader(bytes, nullptr);
    const auto read = Checkpoint::from(reader);
    EXPECT_EQ(read.step, 7);
    EXPECT_TRUE(read.evaluation_due);
    EXPECT_EQ(read.best_step, 6);
    EXPECT_EQ(read.best_metric, 1.0 / 3);
    EXPECT_EQ(read.passed_over, 2);
    EXPECT_EQ(read.train_seconds, 12.5);
    EXPECT_EQ(read.flop, 1e12);
    EXPECT_EQ(read.identity, identity);
    EXPECT_EQ(read.values.scalar_type(), at::kDouble);
    EXPECT_TRUE(at::equal(read.values, written.values));
    EXPECT_TRUE(at::equal(read.first_moments, written.first_moments));
    EXPECT_TRUE(at::equal(read.second_moments, written.second_moments));
    EXPECT_EQ(read.best_values.defined(), has_best);
    if (has_best) {
      EXPECT_TRUE(at::equal(read.best_values, written.best_values));
    }
    ASSERT_EQ(read.hooks.size(), 1U);
    EXPECT_EQ(read.hooks[0].first, "importance");
    EXPECT_TRUE(at::equal(read.hooks[0].second, written.hooks[0].second));
  }
}

TEST_F(Checkpoints, KeepNumbersThatJsonHasNot) {
  for (const double metric :
       {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
        std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::denorm_min(), -0.0}) {
    Checkpoint written = at_step(3);
    written.best_metric = metric;
    written.values[0] = metric;
    write_checkpoint(directory, written);
    const auto checkpoint = read(identity);
    ASSERT_TRUE(checkpoint) << metric;
    EXPECT_EQ(std::bit_cast<std::uint64_t>(checkpoint->best_metric), std::bit_cast<std::uint64_t>(metric));
    EXPECT_TRUE(at::equal(checkpoint->values.view(at::kInt), written.values.view(at::kInt)));
  }
  EXPECT_TRUE(warnings.empty());
}

TEST_F(Checkpoints, OfAnotherVersionAreRefused) {
  write_checkpoint(directory, at_step(1));
  const fs::path state = directory / "step-1" / "state.json";
  auto json = nlohmann::json::parse(read_file(state));
  json["schema"] = 1;
  write_file_atomically(state, json.dump());
  EXPECT_THAT([&] { read(identity); },
              testing::ThrowsMessage<UsageError>(
                  testing::AllOf(testing::HasSubstr("expected schema 3, found 1"), testing::HasSubstr("--overwrite"))));
}

TEST_F(Checkpoints, OfOtherFilesAreRefusedNamingEachAndThoseThatDoNotSayItAreTaken) {
  write_checkpoint(directory, at_step(1));
  auto now = identity;
  now["dev data"] = "new";
  now["configuration of the model"] = "new";
  EXPECT_TRUE(read(now));
  Checkpoint written = at_step(2);
  written.identity["dev data"] = "old";
  written.identity["configuration of the model"] = "old";
  write_checkpoint(directory, written);
  EXPECT_THAT([&] { read(now); }, testing::ThrowsMessage<UsageError>(testing::HasSubstr(
                                      "configuration of the model was 'old' and is now 'new'; dev data was 'old'")));
}

TEST_F(Checkpoints, OfWhichADirectoryHasAnImpossibleNumberAreRead) {
  write_checkpoint(directory, at_step(3));
  fs::create_directories(directory / "step-99999999999999999999999999");
  fs::create_directories(directory / "step-");
  ASSERT_TRUE(read(identity));
  EXPECT_EQ(read(identity)->step, 3);
}

TEST_F(Checkpoints, WhoseNumbersDoNotFitEachOtherAreDamaged) {
  const auto spoil = [&](const char* says, const auto& change) {
    auto checkpoint = at_step(5);
    change(checkpoint);
    write_checkpoint(directory, checkpoint);
    warnings.clear();
    EXPECT_FALSE(read(identity));
    ASSERT_EQ(warnings.size(), 1U);
    EXPECT_THAT(warnings[0], testing::AllOf(testing::HasSubstr("damaged and skipped"), testing::HasSubstr(says)));
    fs::remove_all(directory);
  };
  spoil("'first_moments': expected floating-point numbers, one row of 17",
        [](auto& c) { c.first_moments = at::ones({1}); });
  spoil("'second_moments'", [](auto& c) { c.second_moments = at::zeros({17, 1}); });
  spoil("'best_values'", [](auto& c) { c.best_values = at::zeros({18}); });
  spoil("'values'", [](auto& c) { c.values = at::zeros({17}, at::kInt); });
  spoil("'step' from 0 and 'best_step' from 0 to that, found 5 and 9", [](auto& c) { c.best_step = 9; });
}

TEST_F(Checkpoints, AreTwoAtMostTheLastOnes) {
  for (const std::int64_t step : {8, 9, 10, 11}) write_checkpoint(directory, at_step(step));
  EXPECT_EQ(kept(), (std::vector<std::string>{"step-10", "step-11"}));
  EXPECT_EQ(read(identity)->step, 11);
}

TEST_F(Checkpoints, ThatAreTornGiveWayToTheOneBefore) {
  for (const char* file : {"state.json", "state.safetensors"}) {
    for (const double share : {0.0, 0.3, 0.99}) {
      fs::remove_all(directory);
      warnings.clear();
      write_checkpoint(directory, at_step(1));
      write_checkpoint(directory, at_step(2));
      const fs::path torn = directory / "step-2" / file;
      fs::resize_file(torn, static_cast<std::uintmax_t>(static_cast<double>(fs::file_size(torn)) * share));
      const auto checkpoint = read(identity);
      ASSERT_TRUE(checkpoint) << file << " " << share;
      EXPECT_EQ(checkpoint->step, 1);
      ASSERT_EQ(warnings.size(), 1U);
      EXPECT_THAT(warnings[0],
                  testing::AllOf(testing::HasSubstr("step-2 is damaged and skipped"), testing::HasSubstr(file)));
    }
  }
}

TEST_F(Checkpoints, InWhichABitHasFlippedGiveWayToTheOneBefore) {
  write_checkpoint(directory, at_step(1));
  auto last = at_step(2);
  last.best_values = at::randn({17});
  write_checkpoint(directory, last);
  for (const char* name : {"state.json", "state.safetensors"}) {
    const fs::path file = directory / "step-2" / name;
    const std::string whole = read_file(file);
    // What says that another version wrote it, and what says that there is a digest, are no part of the numbers.
    std::vector<bool> left_out(whole.size());
    for (const std::string& text : {std::string("\"schema\": 3"), std::string("\"digest\"")}) {
      const std::size_t place = whole.find(text);
      ASSERT_EQ(place == whole.npos, std::string(name) != "state.json") << text;
      for (std::size_t i = 0; place != whole.npos && i < text.size(); ++i) left_out[place + i] = true;
    }
    for (std::size_t place = 0; place < whole.size(); ++place) {
      if (left_out[place]) continue;
      std::string flipped = whole;
      flipped[place] = static_cast<char>(flipped[place] ^ (1 << place % 8));
      std::ofstream(file, std::ios::binary | std::ios::trunc) << flipped;
      warnings.clear();
      const auto checkpoint = read(identity);
      ASSERT_TRUE(checkpoint) << name << " " << place;
      ASSERT_EQ(checkpoint->step, 1) << name << " " << place;
      ASSERT_THAT(warnings, testing::ElementsAre(testing::HasSubstr("step-2 is damaged and skipped"))) << place;
    }
    std::ofstream(file, std::ios::binary | std::ios::trunc) << whole;
  }
  EXPECT_EQ(read(identity)->step, 2);
}

TEST_F(Checkpoints, FromBeforeThereWereDigestsAreReadAsTheyAre) {
  write_checkpoint(directory, at_step(1));
  const fs::path state = directory / "step-1" / "state.json";
  auto json = nlohmann::json::parse(read_file(state));
  ASSERT_EQ(json.erase("digest"), 1U);
  ASSERT_EQ(json.erase("evaluation_due"), 1U);
  write_file_atomically(state, json.dump());
  ASSERT_TRUE(read(identity));
  EXPECT_FALSE(read(identity)->evaluation_due);
  EXPECT_TRUE(warnings.empty());
}

TEST_F(Checkpoints, ThatLackAFileOrATensorGiveWayToTheOneBefore) {
  write_checkpoint(directory, at_step(1));
  write_checkpoint(directory, at_step(2));
  fs::remove(directory / "step-2" / "state.safetensors");
  EXPECT_EQ(read(identity)->step, 1);
  write_checkpoint(directory, at_step(2));
  write_checkpoint(directory, at_step(3));
  write_file_atomically(directory / "step-3" / "state.json", R"({"step": "three"})");
  EXPECT_EQ(read(identity)->step, 2);
}

TEST_F(Checkpoints, OfWhichAllAreDamagedAreNone) {
  write_checkpoint(directory, at_step(1));
  write_file_atomically(directory / "step-1" / "state.json", "");
  EXPECT_FALSE(read(identity));
  EXPECT_EQ(warnings.size(), 1U);
}

TEST_F(Checkpoints, ThatWereBeingWrittenAreNotSeen) {
  write_checkpoint(directory, at_step(1));
  fs::create_directories(directory / "step-2.part");
  write_file_atomically(directory / "step-2.part" / "state.json", "{}");
  EXPECT_EQ(read(identity)->step, 1);
  EXPECT_TRUE(warnings.empty());
  write_checkpoint(directory, at_step(2));
  EXPECT_EQ(kept(), (std::vector<std::string>{"step-1", "step-2"}));
}

TEST_F(Checkpoints, OfAnotherRunAreRefusedNamingWhatDiffers) {
  write_checkpoint(directory, at_step(1));
  auto other = identity;
  other["seed"] = "4";
  EXPECT_THAT([&] { read(other); },
              testing::ThrowsMessage<UsageError>(testing::AllOf(testing::HasSubstr("seed was '3' and is now '4'"),
                                                                testing::HasSubstr("--overwrite"))));
  other = identity;
  other["model"] = "new";
  EXPECT_THAT([&] { read(other); },
              testing::ThrowsMessage<UsageError>(testing::HasSubstr("model was '' and is now 'new'")));
}

TEST_F(Checkpoints, FromBeforeGradientsCouldTravelAsBfloat16AreOfFloats) {
  write_checkpoint(directory, at_step(1));
  auto now = identity;
  now["reduce precision"] = "fp32";
  EXPECT_TRUE(read(now));
  now["reduce precision"] = "bf16";
  EXPECT_THAT([&] { read(now); },
              testing::ThrowsMessage<UsageError>(testing::HasSubstr("reduce precision was 'fp32' and is now 'bf16'")));
}

}  // namespace
}  // namespace dtrain::train
