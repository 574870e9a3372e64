// The memory of a run must not depend on what ran before it.

#include "train/peak_memory.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <climits>
#include <cmath>
#include <filesystem>

#include "tests/train/small_run.h"

namespace dtrain::train {
namespace {

constexpr double kMiB = 1 << 20;

class PeakMemoryOfRuns : public testing::Test {
 protected:
  PeakMemoryOfRuns() {
    at::set_num_threads(1);
    // As the program does: what is freed stays resident.
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_TOP_PAD, 64 << 20);
  }

  /// In MiB, of a run of two steps on the embedded model.
  double peak_of(const std::string& method) const {
    auto classifier =
        model::load_classifier({.directory = std::filesystem::path(DTRAIN_SHARE_DIR) / "models" / "minilm-l6-h384",
                                .pooling = model::Pooling::mean,
                                .classes = 4,
                                .head_seed = 1,
                                .device = test_device()});
    peft::make_method(peft::parse_method_spec(method))->attach(*classifier, {.seed = 1});
    const auto alone = dist::make_single_communicator();
    FeatureStore features(0);
    const auto report = train(*classifier, examples, {}, short_run(method, 2), {}, context_over(*alone), features);
    return static_cast<double>(report.peak_memory_bytes) / kMiB;
  }

  const Examples examples = random_data(16, 4);
};

TEST_F(PeakMemoryOfRuns, DoesNotDependOnTheirOrder) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "not run: a sanitizer's allocator keeps what is freed";
#endif
  peak_of("lora");  // the first run of a process takes what LibTorch keeps for all
  const double full = peak_of("full");
  const double lora_after_full = peak_of("lora");
  const double lora_after_lora = peak_of("lora");
  const double full_after_lora = peak_of("full");
  EXPECT_NEAR(lora_after_full, lora_after_lora, 8);
  EXPECT_NEAR(full, full_after_lora, 16);
  // 86.1 MiB of weights, and for `full` as much again for the gradient and for each of two moments.
  EXPECT_GT(lora_after_full, 86);
  EXPECT_LT(lora_after_full, 86 + 64);
  EXPECT_GT(full, 4 * 86);
  EXPECT_LT(full, 6 * 86);
}

TEST_F(PeakMemoryOfRuns, HasTheWeightsAndWhatIsTakenMeanwhileButNotWhatWasThere) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "not run: a sanitizer's allocator keeps what is freed";
#endif
  const auto classifier = classifier_with("new_gelu", "head");
  double weights = 0;
  for (const model::Parameter* parameter : classifier->parameters()) {
    weights += static_cast<double>(parameter->value().nbytes()) / kMiB;
  }
  const auto before = at::ones({100, 1 << 18}, test_device());  // 100 MiB
  const PeakMemory peak(*classifier, test_device());
  EXPECT_NEAR(static_cast<double>(peak.bytes()) / kMiB, weights, 2);
  at::ones({64, 1 << 18}, test_device());  // and gone again
  EXPECT_NEAR(static_cast<double>(peak.bytes()) / kMiB, weights + 64, 4);
  const PeakMemory later(*classifier, test_device());
  EXPECT_NEAR(static_cast<double>(later.bytes()) / kMiB, weights, 2);
}

TEST_F(PeakMemoryOfRuns, IsToldOfTheHostBesideAGpu) {
  const auto classifier = classifier_with("new_gelu", "head");
  const PeakMemory peak(*classifier, test_device());
  at::ones({64, 1 << 18});  // 64 MiB
  if (test_device().is_cpu()) {
    EXPECT_FALSE(peak.host_bytes()) << "there is one memory";
  } else {
    EXPECT_NEAR(static_cast<double>(peak.host_bytes().value()) / kMiB, 64, 4);
  }
}

TEST_F(PeakMemoryOfRuns, AboveTheBaseModelIsWhatAMethodAddsAndTakes) {
  const auto classifier = classifier_with("new_gelu", "lora");
  std::int64_t added = 0;
  for (int layer = 0; layer < classifier->encoder().layers(); ++layer) {
    for (const model::Parameter* parameter : classifier->encoder().layer(layer).added_parameters())
      added += static_cast<std::int64_t>(parameter->value().nbytes());
  }
  std::int64_t weights = 0;
  for (const model::Parameter* parameter : classifier->parameters())
    weights += static_cast<std::int64_t>(parameter->value().nbytes());
  EXPECT_GT(added, 0);
  EXPECT_EQ(weights - PeakMemory(*classifier, test_device()).base_bytes(), added);
}

}  // namespace
}  // namespace dtrain::train
