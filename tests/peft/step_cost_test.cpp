// What a training step of each method costs: the matmuls that it needs and no other, the activations that a
// gradient is computed from and no other.

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "peft/registry.h"
#include "tests/model/reference_case.h"
#include "tests/peft/small_specs.h"

namespace dtrain::peft {
namespace {

// Matmuls of one of the encoder's six matrices a layer with the rows of all tokens, by what they compute.
struct Matmuls {
  int forward = 0;
  int input_gradients = 0;
  int weight_gradients = 0;
  bool operator==(const Matmuls&) const = default;
};

std::ostream& operator<<(std::ostream& stream, const Matmuls& matmuls) {
  return stream << matmuls.forward << " forward, " << matmuls.input_gradients << " input gradients, "
                << matmuls.weight_gradients << " weight gradients";
}

// Counts the matmuls of the thread while it exists. LibTorch's dispatcher passes every operation by the fallback
// below, with its arguments; a listener of at::RecordFunction sees none of those within backward.
class MatmulCounter {
 public:
  MatmulCounter(std::int64_t rows, std::int64_t hidden, std::int64_t intermediate)
      : rows_(rows), hidden_(hidden), intermediate_(intermediate) {
    active = this;
  }
  ~MatmulCounter() { active = nullptr; }
  MatmulCounter(const MatmulCounter&) = delete;
  MatmulCounter& operator=(const MatmulCounter&) = delete;

  void begin_backward() { backward_ = true; }
  const Matmuls& matmuls() const { return matmuls_; }
  /// Of all matmuls, whatever their sizes.
  double flop() const { return flop_; }

  /// `batch` times [m, k] times [k, n].
  void count(std::int64_t batch, std::int64_t m, std::int64_t k, std::int64_t n) {
    flop_ += 2.0 * static_cast<double>(batch * m * k * n);
    std::array sizes = {m, k, n};
    std::sort(sizes.begin(), sizes.end());
    std::array square = {rows_, hidden_, hidden_};
    std::array wide = {rows_, hidden_, intermediate_};
    std::sort(square.begin(), square.end());
    std::sort(wide.begin(), wide.end());
    if (sizes != square && sizes != wide) return;
    if (k == rows_) {
      ++matmuls_.weight_gradients;
    } else {
      ++(backward_ ? matmuls_.input_gradients : matmuls_.forward);
    }
  }

  static thread_local MatmulCounter* active;

 private:
  std::int64_t rows_, hidden_, intermediate_;
  bool backward_ = false;
  Matmuls matmuls_;
  double flop_ = 0;
  c10::impl::IncludeDispatchKeyGuard guard_{c10::DispatchKey::TESTING_ONLY_GenericMode};
};

thread_local MatmulCounter* MatmulCounter::active = nullptr;

void count_matmuls(const c10::OperatorHandle& operation, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  // The operations that multiply matrices, and which of their arguments is the first factor. Others (matmul, linear)
  // are made of these.
  static const std::map<std::string, std::size_t> factors = {
      {"aten::mm", 0}, {"aten::bmm", 0}, {"aten::addmm", 1}, {"aten::addmm_", 1}, {"aten::baddbmm", 1}};
  const auto found = factors.find(operation.schema().name());
  if (found != factors.end() && MatmulCounter::active != nullptr) {
    const auto arguments = torch::jit::last(*stack, operation.schema().arguments().size());
    const auto& left = arguments[found->second].toTensor();
    const auto& right = arguments[found->second + 1].toTensor();
    MatmulCounter::active->count(left.dim() == 3 ? left.size(0) : 1, left.size(-2), left.size(-1), right.size(-1));
  }
  constexpr c10::DispatchKeySet kAfter(c10::DispatchKeySet::FULL_AFTER, c10::DispatchKey::TESTING_ONLY_GenericMode);
  operation.redispatchBoxed(keys & kAfter, stack);
}

TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericMode, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&count_matmuls>());
}

// The bytes of tensors that the thread has allocated and not freed since it exists.
class LiveBytes : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override { bytes_ += size; }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t bytes() const { return bytes_; }

 private:
  std::int64_t bytes_ = 0;
};

struct StepCost {
  Matmuls matmuls;
  double kept = 0;  // numbers between forward and backward, a row of the encoder
  double flop = 0;  // of all matmuls
  model::FlopCount counted;
};

constexpr std::int64_t kTokens = 51;  // no other size of the model
constexpr std::int64_t kExamples = 3;
constexpr std::int64_t kHidden = 64;
constexpr std::int64_t kIntermediate = 96;

StepCost cost_of_step(const std::string& spec) {
  const auto classifier = model::ReferenceCase("new_gelu").load(model::Pooling::mean, at::kFloat);
  EXPECT_EQ(classifier->config().hidden_size, kHidden);
  EXPECT_EQ(classifier->config().intermediate_size, kIntermediate);
  make_method(parse_method_spec(spec))->attach(*classifier, {});
  model::bind_gradients(*classifier);
  const auto offsets = at::tensor(std::vector<std::int64_t>{0, 20, 37, kTokens});
  const model::TokenBatch batch{(at::arange(kTokens) * 31 + 7) % 97 + 1, at::zeros({kTokens}, at::kLong),
                                at::cat({at::arange(20), at::arange(17), at::arange(14)}), offsets, 20};
  const auto labels = at::tensor(std::vector<std::int64_t>{2, 0, 4});
  for (model::Parameter* parameter : classifier->parameters()) {
    if (parameter->trainable()) parameter->begin_step();
  }
  const std::int64_t rows = classifier->encoder().seen(batch).tokens();
  model::ForwardContext context({3, 1, 4}, classifier->first_trainable_stage());
  const auto live = std::make_shared<LiveBytes>();
  const c10::DebugInfoGuard observed(c10::DebugInfoKind::PROFILER_STATE, live);
  MatmulCounter counter(rows, kHidden, kIntermediate);
  const auto loss = at::cross_entropy_loss(classifier->forward(batch, context), labels);
  StepCost cost;
  cost.kept = static_cast<double>(live->bytes()) / 4 / static_cast<double>(rows);
  counter.begin_backward();
  torch::autograd::backward({loss}, {});
  cost.matmuls = counter.matmuls();
  cost.flop = counter.flop();
  cost.counted = context.flop();
  return cost;
}

// What a step needs, of three layers of six matrices each. A gradient of the input is needed where something below
// trains; one of a weight where the weight trains, or is computed from what trains.
struct Needed {
  std::string spec;
  Matmuls matmuls;
  double kept;  // numbers a row that some gradient is computed from
};

std::vector<Needed> needed() {
  constexpr double kH = kHidden;
  constexpr double kI = kIntermediate;
  // For the input's gradient alone: queries, keys, values and what attention makes of them; the normalized rows of two
  // norms; what the activation takes.
  constexpr double kFrozen = 6 * kH + kI;
  // For the weights: the layer's input, what the second norm and the activation give, besides.
  constexpr double kTrained = kFrozen + 2 * kH + kI;
  // Where all that trains in the lowest layer comes after its attention, or at its end.
  constexpr double kAfterAttention = 3 * kFrozen - 4 * kH;
  constexpr double kAfterLayer = 2 * kFrozen + kH;
  // [hidden] and [hidden, hidden], by the rows of the batch.
  constexpr double kVector = kH / kTokens;
  constexpr double kMatrix = kH * kVector;
  // Keys and values of so many virtual tokens, which stand once more among those of each example, and in 64 bits where
  // these and the tokens' own stand.
  const auto prefix = [](double tokens) {
    return (2 * kExamples * tokens * kH + 2 * (kTokens + kExamples * tokens)) / kTokens;
  };
  const auto spec = [](const char* name) { return small_spec(name); };
  return {
      {"full", {18, 18, 18}, 3 * kTrained + kH},  // and the embeddings' norm
      {"head", {18, 0, 0}, 0},
      {"lp-ft", {18, 0, 0}, 0},
      {"gradual", {18, 0, 0}, 0},
      {"layers", {18, 9, 12}, 2 * kTrained},
      {"layers:k=1", {18, 3, 6}, kTrained},
      {"bitfit", {18, 18, 0}, 3 * kFrozen + kH},
      {"bitfit:bias_terms=query", {18, 15, 0}, 3 * kFrozen},
      {"norm", {18, 18, 0}, 3 * kFrozen + kH},
      // Nothing below the lowest query and value; their input, and that times A.
      {"lora", {18, 15, 0}, 3 * (kFrozen + kH + 2 * 8)},
      {"lora:target_modules=output.dense", {18, 14, 0}, kAfterAttention + kH + 3 * (kI + 2 * 8)},
      {"lora:layers_to_transform=2", {18, 3, 0}, kFrozen + kH + 2 * 8},
      // And what the magnitudes multiply, what by, and the lengths.
      {"lora:use_dora=true", {18, 15, 0}, 3 * (kFrozen + kH + 2 * (8 + kH + 2 * kVector))},
      // Before and after it is scaled by E.
      {"adalora", {18, 15, 0}, 3 * (kFrozen + kH + 2 * 2 * 12)},
      // Its vectors' gradients need what the random matrices make of the input.
      {"vera", {18, 15, 0}, 3 * (kFrozen + 2 * 256 + 2 * kH)},
      // The input; the two matrices whose product the change is, one of their factors scaled; above the lowest layer,
      // for the gradient of the input, the changed weight.
      {"loha", {18, 15, 6}, 3 * (kFrozen + kH) + (6 * 2 + 4) * kMatrix + 6 * 8 * kVector},
      // The input, what the second factor makes of it, and the first one scaled.
      {"lokr", {18, 15, 0}, 3 * (kFrozen + 3 * kH) + 6 * kVector},
      // The random matrix times one of the two scales; the changed weight, as above.
      {"randlora", {18, 15, 6}, 3 * (kFrozen + kH) + (6 + 4) * kMatrix},
      {"fourierft", {18, 15, 6}, 3 * (kFrozen + kH) + 4 * kMatrix},
      // They turn the input of the lowest query and value, which must have a gradient then.
      // Two blocks of 32: three powers, and, as above, their sum.
      {"oft", {18, 17, 0}, 3 * (kFrozen + kH) + (6 * 3 + 4) * 32 * kVector},
      // What is scaled; 16 blocks of 4: the system that Cayley's map solves, its factors, their order, the solution.
      {"boft", {18, 17, 0}, 3 * (kFrozen + 3 * kH) + 6 * (3 * 4 + 1) * kVector},
      // The input times both factors; vectors of length one, the lengths that they had, and the factor between.
      {"hra", {18, 17, 0}, 3 * (kFrozen + kH + 2 * 2 * 8) + 6. * (8 * kH + 8 + 8 * 8) / kTokens},
      // Keys, values and what the activation gives, before they are scaled.
      {"ia3", {18, 15, 0}, 3 * (kFrozen + 2 * kH + kI)},
      // Above the lowest adapter: after attention, or after the layer. What it takes, and its bottleneck before and
      // after the activation.
      {"houlsby", {18, 14, 0}, kAfterAttention + 6 * (kH + 2 * 4)},
      // Each linear layer's blocks, and the rotation that they make, but for the lowest.
      {spec("compacter"), {18, 14, 0}, kAfterAttention + 6 * (kH + 2 * 32) + (11 + 12. / 4) * 32 * kVector},
      // The bottleneck after relu only; the rows of the norm before the adapter.
      {"pfeiffer", {18, 12, 0}, kAfterLayer + 3 * (kH + 4) + 2 * kH},
      {"parallel", {18, 12, 0}, kAfterLayer + 3 * (kH + 32)},
      {"prefix", {18, 15, 0}, 3 * (kFrozen + prefix(20))},
      {"prompt", {18, 18, 0}, 3 * kFrozen + kH},
      // And its network's two hidden layers.
      {"p-tuning", {18, 18, 0}, 3 * kFrozen + kH + 2 * 20 * kH / (kTokens + 20 * kExamples)},
      // An adapter as parallel's, and a prefix and what its two linear layers have between them.
      {spec("mam"), {18, 15, 0}, 3 * (kFrozen + kH + 32 + prefix(3)) + 3. * 32 / kTokens},
      // Parts as above; before the gates LoRA's low rows, the adapter's rows and the prefix; of a gate of tokens 6
      // numbers, of one of examples 3: some are places, in 64 bits.
      {spec("unipelt"),
       {18, 15, 0},
       3 * (kFrozen + kH + 2 * 2 * 8 + 3 * kH + 4 + prefix(3) + 3 * 6 + 3) + 3. * 32 / kTokens + 3 * 6 * kVector},
  };
}

TEST(StepCost, IsWhatTheMethodNeeds) {
  for (const Needed& expected : needed()) {
    const StepCost cost = cost_of_step(expected.spec);
    EXPECT_EQ(cost.matmuls, expected.matmuls) << expected.spec;
    // Besides: a number a row and norm or head of attention, ids, and the head's few rows.
    constexpr double kSmall = 25;
    EXPECT_GE(cost.kept, expected.kept) << expected.spec;
    EXPECT_LE(cost.kept, expected.kept + kSmall) << expected.spec;
  }
}

TEST(StepCost, IsCountedInFloatingPointOperations) {
  for (const Needed& expected : needed()) {
    const StepCost cost = cost_of_step(expected.spec);
    // A matrix solve multiplies in backward, too.
    const bool solves = expected.spec == "boft" || expected.spec == "hra";
    EXPECT_NEAR(cost.counted.matmuls / cost.flop, 1, solves ? 0.01 : 1e-12) << expected.spec;
  }
}

TEST(StepCost, CountsTheAttentionThatHasAGradientSevenMatmuls) {
  const double forward = 2 * 2 * kHidden * (20. * 20 + 17 * 17 + 14 * 14);
  EXPECT_EQ(cost_of_step("head").counted.attention, 3 * forward);
  EXPECT_EQ(cost_of_step("full").counted.attention, 3 * forward * 7 / 2);
  EXPECT_EQ(cost_of_step("layers:k=1").counted.attention, (2 + 7. / 2) * forward);
  const double with_keys = 2 * 2 * kHidden * (20. * (20 + 20) + 17 * (17 + 20) + 14 * (14 + 20));
  EXPECT_EQ(cost_of_step("prefix").counted.attention, 3 * with_keys * 7 / 2);
}

TEST(StepCost, IsStatedForEveryMethod) {
  const auto all = needed();
  for (const MethodKind& kind : method_kinds()) {
    EXPECT_TRUE(std::any_of(all.begin(), all.end(), [&](const Needed& stated) {
      return parse_method_spec(stated.spec).name == kind.name;
    })) << kind.name;
  }
}

}  // namespace
}  // namespace dtrain::peft
