// Every method's output, read back here, and left for check_saved.py to load with transformers and PEFT.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "tests/base/temporary_directory.h"
#include "tests/model/reference_case.h"
#include "tests/peft/small_specs.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;
using model::Pooling;

const std::vector<std::string> kLabels = {"label 0", "label 1", "label 2", "label 3"};

std::string alphanumeric(std::string text) {
  for (char& character : text) {
    if (std::isalnum(static_cast<unsigned char>(character)) == 0) character = '_';
  }
  return text;
}

// Every method there is, as it comes.
std::vector<std::string> method_names() {
  std::vector<std::string> all;
  for (const MethodKind& kind : method_kinds()) all.push_back(small_spec(kind.name));
  return all;
}

// Settings that change what is saved, under BERT's names of modules.
std::vector<std::string> settings() {
  return {
      "layers:k=1",
      "lora:r=4:lora_alpha=6:target_modules=all-linear:bias=all",
      "lora:r=3:lora_alpha=5.5:target_modules=dense:bias=lora_only",
      "lora:use_dora=true:use_rslora=true:rank_pattern=query~3+layer.1.attention.self.value~2:alpha_pattern=value~4.5",
      "lora:init_lora_weights=pissa:r=4:lora_alpha=6:use_dora=true:target_modules=intermediate.dense+query",
      "lora:init_lora_weights=olora:r=4:use_rslora=true:rank_pattern=value~2:bias=lora_only",
      "lora:layers_to_transform=0+2:exclude_modules=layer.2.attention.self.query:lora_bias=true",
      "vera:r=6:save_projection=false:target_modules=intermediate.dense+value:bias=vera_only",
      "vera:r=6:target_modules=intermediate.dense+output.dense",
      "loha:r=3:rank_pattern=query~2:alpha_pattern=value~3:target_modules=all-linear",
      "lokr:r=2:alpha=3:decompose_both=true:decompose_factor=4:target_modules=intermediate.dense",
      "lokr:r=30:init_weights=lycoris",
      "oft:oft_block_size=0:r=4:block_share=true:bias=oft_only",
      "oft:use_cayley_neumann=false:target_modules=dense:coft=true:eps=0.1:nearest_divisor=true",
      "hra:r=3:apply_GS=true:bias=hra_only:target_modules=all-linear",
      "boft:boft_block_size=0:boft_block_num=2:bias=boft_only:target_modules=all-linear",
      "randlora:r=9:save_projection=false:very_sparse=true:randlora_alpha=12.5",
      "fourierft:n_frequency=60:init_weights=true:bias=fourier_only",
      "fourierft:n_frequency=60:n_frequency_pattern=layer.1.attention.self.query~7+query~20:init_weights=true",
      "bitfit:bias_terms=query+intermediate.dense",
      "norm:target_modules=output.LayerNorm",
      "norm:exclude_modules=attention.output.LayerNorm",
      "ia3:exclude_modules=layer.1.attention.self.key+layer.2.output.dense",
      "ia3:target_modules=all-linear",
      "ia3:target_modules=dense+value:feedforward_modules=intermediate.dense",
      "prefix:num_virtual_tokens=3:prefix_projection=true:encoder_hidden_size=7",
      "prompt:num_virtual_tokens=5:prompt_tuning_init=SAMPLE_VOCAB",
      "p-tuning:num_virtual_tokens=4:encoder_reparameterization_type=LSTM:encoder_hidden_size=6",
      "lp-ft:head_share=0.5",
      "adalora:init_r=5:target_r=1:target_modules=all-linear:bias=all",
      "houlsby:ln_before=true:ln_after=true:scaling=channel:leave_out=1",
      "pfeiffer:reduction_factor=0~3+default~5:residual_before_ln=post_add:mh_adapter=true",
      "parallel:scaling=learned:reduction_factor=0.5",
      "compacter:reduction_factor=5:phm_dim=2:phm_rank=2:shared_phm_rule=false:phm_bias=false"};
}

// Those that add what no weight of the model can hold.
const std::set<std::string> kWithoutMerge = {"houlsby", "pfeiffer", "parallel", "compacter", "prefix",
                                             "prompt",  "p-tuning", "mam",      "unipelt"};

struct Base {
  std::string name;
  Pooling pooling;
};

std::vector<Base> bases() {
  return {{"odd_relu", Pooling::pooler}, {"odd_relu", Pooling::cls}, {"odd_relu", Pooling::mean},
          {"bare", Pooling::pooler},     {"bare", Pooling::mean},    {"bare_with_pooler", Pooling::pooler}};
}

// Where modules_to_save can name a pooler.
std::vector<Base> bases_with_pooler() {
  auto all = bases();
  all.erase(std::remove_if(all.begin(), all.end(), [](const Base& base) { return base.pooling != Pooling::pooler; }),
            all.end());
  return all;
}

// The other families of models.
std::vector<Base> other_bases() { return {{"roberta", Pooling::cls}, {"distilbert", Pooling::cls}}; }

fs::path directory_of(const std::string& base) {
  return base == "minilm" ? fs::path(DTRAIN_SHARE_DIR) / "models" / "minilm-l6-h384"
                          : model::reference_directory() / base;
}

class SavedModel : public testing::TestWithParam<std::tuple<Base, std::string>> {
 protected:
  // Nothing of an earlier run is left for check_saved.py.
  static void SetUpTestSuite() {
    static const auto removed = fs::remove_all(DTRAIN_SAVED_DIR);
    static_cast<void>(removed);
  }

  SavedModel() {
    classifier = model::load_classifier({.directory = directory_of(base.name),
                                         .pooling = base.pooling,
                                         .classes = static_cast<std::int64_t>(kLabels.size()),
                                         .head_seed = 7});
    const auto method = make_method(spec);
    method->attach(*classifier, {.seed = 7});
    for (std::size_t phase = 1; phase < method->phases(*classifier).size(); ++phase) {
      method->enter_phase(*classifier, static_cast<int>(phase));
    }
    auto generator = at::detail::createCPUGenerator(11);
    for (const auto& [name, parameter] : trained_parameters(*classifier)) {
      const auto noise = at::empty_like(parameter->value()).normal_(0, 0.05, generator);
      parameter->set_value(parameter->value() + noise);
    }
    // A run whose gradients say nothing.
    if (const auto hooks = method->start_training_hooks(*classifier, 10)) {
      model::bind_gradients(*classifier);
      for (int step = 0; step < 10; ++step) {
        for (const auto& [name, parameter] : trained_parameters(*classifier)) {
          parameter->gradient().normal_(0, 1, generator);
        }
        hooks->after_step(step);
      }
    }
  }

  fs::path save(const fs::path& output) {
    fs::remove_all(output);
    fs::create_directories(output);
    return save_trained(*classifier, spec, kLabels, directory_of(base.name), output);
  }

  /// Where a batch is that the model can read.
  fs::path batch_directory() const {
    const auto own = model::reference_directory() / base.name;
    return fs::exists(own / "batch.safetensors") ? own : model::reference_directory() / "odd_relu";
  }

  /// Without its first example, which leaves no position to virtual tokens.
  model::TokenBatch batch() const {
    const auto whole = model::ReferenceCase(batch_directory().string()).batch();
    const auto begin = whole.offsets[1].item<std::int64_t>();
    return {whole.ids.slice(0, begin), whole.types.slice(0, begin), whole.positions.slice(0, begin),
            whole.offsets.slice(0, 1) - begin, whole.offsets.slice(0, 1).diff().max().item<std::int64_t>()};
  }

  at::Tensor logits(model::Classifier& scored) const {
    const at::NoGradGuard no_grad;
    model::ForwardContext context;
    return scored.forward(batch(), context);
  }

  const Base base = std::get<0>(GetParam());
  const MethodSpec spec = parse_method_spec(std::get<1>(GetParam()));
  std::unique_ptr<model::Classifier> classifier;
};

TEST_P(SavedModel, ScoresTheSameBytesWhenItIsReadBack) {
  const auto name = base.name + "_" + model::pooling_name(base.pooling) + "_" + alphanumeric(spec.text());
  const fs::path output = fs::path(DTRAIN_SAVED_DIR) / name;
  const fs::path saved = save(output);
  const auto expected = logits(*classifier);
  const auto read = load_trained(output, {}, {}, at::kCPU, Log());
  EXPECT_EQ(read.labels, kLabels);
  const bool whole = make_method(spec)->changes_whole_model();
  EXPECT_EQ(read.method.name, whole ? "full" : spec.name);
  EXPECT_EQ(read.classifier->pooling(), base.pooling);
  if (spec.settings.count("init_lora_weights") > 0) {
    // Saved as an update of the base as it was.
    EXPECT_LT(model::largest_difference(logits(*read.classifier), expected), 1e-5);
  } else if (spec.name == "adalora") {
    // Without the rows that were cut: sums of fewer numbers, which round otherwise.
    EXPECT_LT(model::largest_difference(logits(*read.classifier), expected), 1e-6);
  } else {
    EXPECT_TRUE(at::equal(logits(*read.classifier), expected));
  }
  EXPECT_TRUE(fs::equivalent(read.tokenizer, whole ? saved : directory_of(base.name)));

  // For check_saved.py.
  model::write_safetensors(output / "batch.safetensors",
                           {{"ids", batch().ids}, {"types", batch().types}, {"offsets", batch().offsets}});
  model::write_safetensors(output / "logits.safetensors", {{"logits", expected}});
  if (fs::exists(saved / "vocab.txt")) write_file_atomically(output / "tokenized", "a common language");
}

TEST_P(SavedModel, IsThePlainModelOnceMergedWhereItCanBe) {
  const auto expected = logits(*classifier);
  const auto method = make_method(spec);
  ASSERT_EQ(method->cannot_merge().has_value(), kWithoutMerge.count(spec.name) > 0);
  if (method->cannot_merge()) return;
  method->merge(*classifier);
  for (const model::Linear* linear : classifier->linears()) EXPECT_EQ(linear->slot, nullptr);
  EXPECT_LT(model::largest_difference(logits(*classifier), expected), 2e-5);
}

TEST_P(SavedModel, HoldsTheTensorsOfTheMethodAndNoMore) {
  const TemporaryDirectory temporary;
  const fs::path output = temporary.path() / "run";
  const fs::path saved = save(output);
  std::int64_t trained = 0;
  for (const auto& [name, tensor] : make_method(spec)->saved_tensors(*classifier)) trained += tensor.numel() * 4;
  if (make_method(spec)->changes_whole_model()) {
    trained = 0;
    for (const model::Parameter* parameter : classifier->stored_parameters()) trained += parameter->value().numel() * 4;
    trained += stored_bytes(saved) - static_cast<std::int64_t>(fs::file_size(saved / "model.safetensors"));
  }
  EXPECT_GT(stored_bytes(saved), trained);
  EXPECT_LT(stored_bytes(saved), trained + 20'000);
}

TEST(SavedAdapter, IsWrittenAndReadWhereThePathOfItsBaseModelIsNoUtf8) {
  const TemporaryDirectory temporary;
  const fs::path base = temporary.path() / "caf\xe9";
  fs::copy(directory_of("odd_relu"), base);
  // In PEFT's format, adapter-hub's, and dtrain's own.
  for (const std::string& method : {small_spec("lora"), small_spec("pfeiffer"), std::string("layers:k=1")}) {
    SCOPED_TRACE(method);
    const MethodSpec spec = parse_method_spec(method);
    const auto classifier = model::load_classifier({.directory = base,
                                                    .pooling = Pooling::mean,
                                                    .classes = static_cast<std::int64_t>(kLabels.size()),
                                                    .head_seed = 7});
    make_method(spec)->attach(*classifier, {.seed = 7});
    const fs::path output = temporary.path() / alphanumeric(method);
    const fs::path saved = save_trained(*classifier, spec, kLabels, base, output);
    EXPECT_EQ(read_json_object(saved / "dtrain.json").at("base_model"), (temporary.path() / "caf\uFFFD").string());
    const auto read = load_trained(output, base, {}, at::kCPU, Log());
    EXPECT_TRUE(at::equal(read.classifier->classifier.weight.value(), classifier->classifier.weight.value()));
  }
}

TEST(Registry, HasTheseMethodsThatCannotBeMerged) {
  std::set<std::string> without_merge;
  for (const MethodKind& kind : method_kinds()) {
    if (make_method({kind.name, {}})->cannot_merge()) without_merge.insert(kind.name);
  }
  EXPECT_EQ(without_merge, kWithoutMerge);
}

std::string case_name(const testing::TestParamInfo<std::tuple<Base, std::string>>& instance) {
  const Base& base = std::get<0>(instance.param);
  return alphanumeric(base.name + "_" + model::pooling_name(base.pooling) + "_" + std::get<1>(instance.param));
}

TEST(SavedProblemType, ComesBackFromEveryLayoutOfFiles) {
  const fs::path base = model::reference_directory() / "odd_relu";
  const TemporaryDirectory output;
  for (const char* method : {"full", "lora", "houlsby", "bitfit"}) {
    for (const ProblemType type : kProblemTypes) {
      SCOPED_TRACE(std::string(method) + " " + std::string(problem_type_name(type)));
      const std::vector<std::string> labels =
          type == ProblemType::regression ? std::vector<std::string>{"LABEL_0"} : kLabels;
      const auto classifier = model::load_classifier({.directory = base,
                                                      .pooling = Pooling::pooler,
                                                      .classes = static_cast<std::int64_t>(labels.size()),
                                                      .problem_type = type});
      const MethodSpec spec = parse_method_spec(method);
      make_method(spec)->attach(*classifier, {.seed = 1});
      fs::remove_all(output.path());
      fs::create_directories(output.path());
      const fs::path saved = save_trained(*classifier, spec, labels, base, output.path());
      const auto read = load_trained(output.path(), {}, {}, at::kCPU, Log());
      EXPECT_EQ(read.classifier->problem_type, type);
      EXPECT_EQ(read.labels, labels);
      // Who asks otherwise gets it.
      const auto other = ProblemType::multi_label_classification;
      EXPECT_EQ(load_trained(output.path(), {}, {}, at::kCPU, Log(), {}, other).classifier->problem_type, other);
      // Without a word one output is a number, and several are classes, as transformers takes them.
      if (std::string(method) != "lora") continue;
      fs::remove(saved / "dtrain.json");
      const auto foreign = load_trained(output.path(), base, {}, at::kCPU, Log());
      EXPECT_EQ(foreign.classifier->problem_type,
                labels.size() == 1 ? ProblemType::regression : ProblemType::single_label_classification);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, SavedModel,
                         testing::Combine(testing::ValuesIn(bases()), testing::ValuesIn(method_names())), case_name);
INSTANTIATE_TEST_SUITE_P(Settings, SavedModel,
                         testing::Combine(testing::ValuesIn(bases()), testing::ValuesIn(settings())), case_name);
INSTANTIATE_TEST_SUITE_P(Pooler, SavedModel,
                         testing::Combine(testing::ValuesIn(bases_with_pooler()),
                                          testing::Values("lora:modules_to_save=pooler", "ia3:modules_to_save=pooler",
                                                          "norm:modules_to_save=pooler")),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Families, SavedModel,
                         testing::Combine(testing::ValuesIn(other_bases()), testing::ValuesIn(method_names())),
                         case_name);
INSTANTIATE_TEST_SUITE_P(RealModel, SavedModel,
                         testing::Combine(testing::Values(Base{"minilm", Pooling::mean}),
                                          testing::Values("full", "head", "lora")),
                         case_name);

}  // namespace
}  // namespace dtrain::peft
