#include "model/formats/classifier_files.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/image.h"
#include "model/formats/model_weights.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"
#include "tests/model/reference_case.h"

namespace dtrain::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

at::Tensor logits_of(const fs::path& directory) {
  const at::NoGradGuard no_grad;
  ForwardContext context;
  return load_classifier({.directory = directory, .pooling = Pooling::mean, .trained_head = true})
      ->forward(ReferenceCase("odd_relu").batch(), context);
}

TEST(Checkpoint, InShardsIsTheSameModel) {
  EXPECT_TRUE(at::equal(logits_of(reference_directory() / "sharded"), logits_of(reference_directory() / "odd_relu")));
}

TEST(Checkpoint, OfAnotherPrecisionIsReadAsFloat) {
  const auto expected = logits_of(reference_directory() / "odd_relu");
  EXPECT_TRUE(at::equal(logits_of(reference_directory() / "double"), expected));
  EXPECT_LT(largest_difference(logits_of(reference_directory() / "half"), expected), 0.02);
  EXPECT_LT(largest_difference(logits_of(reference_directory() / "bfloat16"), expected), 0.2);
}

LoadOptions of_weights(std::shared_ptr<const ModelWeights> weights) {
  return {.directory = reference_directory() / "odd_relu",
          .pooling = Pooling::mean,
          .classes = 3,
          .head_seed = 1,
          .weights = std::move(weights)};
}

TEST(KeptWeights, AreOneStorageForAllClassifiersUntilOneIsTrained) {
  const auto weights = std::make_shared<ModelWeights>(reference_directory() / "odd_relu");
  weights->keep_tensors();
  const auto first = load_classifier(of_weights(weights));
  const auto second = load_classifier(of_weights(weights));
  const auto alone = load_classifier(of_weights(nullptr));
  const auto parameters = first->stored_parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& other = second->stored_parameters()[i]->value();
    const bool is_head = parameters[i]->name().starts_with("classifier.");
    EXPECT_EQ(parameters[i]->value().data_ptr() == other.data_ptr(), !is_head) << parameters[i]->name();
    EXPECT_TRUE(at::equal(other, alone->stored_parameters()[i]->value())) << parameters[i]->name();
  }
  Parameter& trained = *parameters[0];
  const auto flat = at::empty_like(trained.value());
  trained.bind(flat, at::zeros_like(flat));
  flat.fill_(7);
  EXPECT_EQ(trained.value().data_ptr(), flat.data_ptr());
  EXPECT_TRUE(at::equal(second->stored_parameters()[0]->value(), alone->stored_parameters()[0]->value()));
}

TEST(KeptWeights, AreTakenByAnotherProcessAsTheyWere) {
  const auto weights = std::make_shared<ModelWeights>(reference_directory() / "odd_relu");
  weights->keep_tensors();
  const auto expected = load_classifier(of_weights(weights));
  ImageWriter image;
  weights->add_kept_to(image);
  const auto bytes = at::empty({static_cast<std::int64_t>(image.size())}, at::kByte);
  const std::span memory(static_cast<std::byte*>(bytes.mutable_data_ptr()), image.size());
  image.write(memory);
  auto taken = std::make_shared<ModelWeights>(reference_directory() / "odd_relu");
  ImageReader reader(memory, std::make_shared<at::Tensor>(bytes));
  taken->keep_from(reader);
  const auto classifier = load_classifier(of_weights(taken));
  for (std::size_t i = 0; i < expected->stored_parameters().size(); ++i) {
    const at::Tensor& value = classifier->stored_parameters()[i]->value();
    EXPECT_TRUE(at::equal(value, expected->stored_parameters()[i]->value()));
    if (classifier->stored_parameters()[i]->name().starts_with("classifier.")) continue;
    const auto* begin = static_cast<const std::byte*>(value.const_data_ptr());
    EXPECT_TRUE(begin >= memory.data() && begin + value.nbytes() <= memory.data() + memory.size());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(begin) % kImageAlignment, 0U);
  }
  // What is asked for in another shape is looked at in the file, and refused as ever.
  const std::string name = expected->encoder().embedding_parameters()[0]->name();
  EXPECT_THAT(failure_of<InputError>([&] { taken->float_tensor(name, {2, 3}); }), HasSubstr("expected shape [2, 3]"));
}

TEST(Checkpoint, WithTheFirstNamesOfNormsIsTheSameModel) {
  EXPECT_TRUE(
      at::equal(logits_of(reference_directory() / "gamma_beta"), logits_of(reference_directory() / "odd_relu")));
}

TEST(Checkpoint, OfAFamilyWithoutPoolerIsNotPooledByOne) {
  for (const char* name : {"distilbert", "roberta"}) {
    EXPECT_EQ(read_encoder_config(reference_directory() / name).pooling, Pooling::cls);
    EXPECT_THAT(
        [&] { load_classifier({.directory = reference_directory() / name, .pooling = Pooling::pooler, .classes = 2}); },
        testing::ThrowsMessage<UsageError>(HasSubstr("has no pooler; expected --pooling cls or mean")));
  }
}

TEST(Checkpoint, OfABareEncoderHasTheSameTensorsWithoutPrefix) {
  const auto classifier = load_classifier(
      {.directory = reference_directory() / "bare_with_pooler", .pooling = {}, .classes = 6, .head_seed = 3});
  const SafetensorsFile file(reference_directory() / "bare_with_pooler" / "model.safetensors");
  EXPECT_FALSE(classifier->dense_is_head);
  EXPECT_TRUE(at::equal(classifier->dense.weight.value(), file.tensor("pooler.dense.weight")));
  EXPECT_TRUE(at::equal(classifier->encoder().embedding_parameters()[0]->value(),
                        file.tensor("embeddings.word_embeddings.weight")));
  EXPECT_EQ(classifier->classifier.weight.value().sizes(), (at::IntArrayRef{6, 40}));
}

TEST(Checkpoint, GetsTheSameNewHeadFromTheSameSeedAndInConfigsRange) {
  const auto head = [](std::uint64_t seed) {
    const auto classifier =
        load_classifier({.directory = reference_directory() / "bare", .pooling = {}, .classes = 50, .head_seed = seed});
    EXPECT_TRUE(classifier->dense_is_head);
    EXPECT_EQ(classifier->classifier.bias.value().abs().max().item<double>(), 0);
    return at::cat({classifier->dense.weight.value(), classifier->classifier.weight.value()});
  };
  EXPECT_TRUE(at::equal(head(1), head(1)));
  EXPECT_FALSE(at::equal(head(1), head(2)));
  EXPECT_NEAR(head(1).std().item<double>(), 0.02, 0.001);
}

// A copy of a checkpoint, changed in one place.
class ChangedCheckpoint : public testing::Test {
 protected:
  ChangedCheckpoint() { copy("odd_relu"); }

  void copy(const std::string& name) const {
    fs::copy(reference_directory() / name, directory,
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }

  json config() const { return json::parse(read_file(directory / "config.json")); }
  void set(const std::string& key, const json& value) const {
    auto changed = config();
    changed[key] = value;
    write_file_atomically(directory / "config.json", changed.dump());
  }

  std::string refusal(bool trained_head = true) const {
    return failure_of<InputError>(
        [&] { load_classifier({.directory = directory, .pooling = {}, .classes = 3, .trained_head = trained_head}); });
  }

  template <typename Change>
  void rewrite(const Change& change) const {
    std::map<std::string, at::Tensor> tensors;
    {
      const SafetensorsFile read(directory / "model.safetensors");
      for (const auto& name : read.names()) tensors[name] = read.tensor(name);
    }
    change(tensors);
    write_safetensors(directory / "model.safetensors", {tensors.begin(), tensors.end()});
  }

  const TemporaryDirectory temporary;
  const fs::path& directory = temporary.path();
  const std::string key_weight = "bert.encoder.layer.1.attention.self.key.weight";
};

TEST_F(ChangedCheckpoint, WithoutATensorIsRefusedNamingIt) {
  rewrite([&](auto& tensors) { tensors.erase(key_weight); });
  EXPECT_THAT(refusal(), AllOf(HasSubstr("self.key.weight' of shape [40, 40] is missing"), HasSubstr("did you mean")));
}

TEST_F(ChangedCheckpoint, WithATensorOfAnotherShapeOrTypeIsRefused) {
  rewrite([&](auto& tensors) { tensors[key_weight] = at::zeros({40, 41}); });
  EXPECT_THAT(refusal(), HasSubstr("'" + key_weight + "': expected shape [40, 40], found [40, 41]"));
  rewrite([&](auto& tensors) { tensors[key_weight] = at::zeros({40, 40}, at::kLong); });
  EXPECT_THAT(refusal(), HasSubstr("'" + key_weight + "': expected a floating-point type, found I64"));
}

TEST_F(ChangedCheckpoint, WithNumbersThatAreNotFiniteIsRefusedNamingFileAndTensor) {
  const auto load = [&] { load_classifier({.directory = directory, .pooling = {}, .trained_head = true}); };
  // Numbers whose sum alone is not finite, and a tensor that the model has no use for.
  rewrite([&](auto& tensors) {
    tensors[key_weight].fill_(3e38);
    tensors["cls.predictions.bias"] = at::full({101}, std::numeric_limits<double>::quiet_NaN());
  });
  EXPECT_NO_THROW(load());
  for (const double number : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    rewrite([&](auto& tensors) { tensors[key_weight][39][1] = number; });
    EXPECT_THAT(refusal(), AllOf(HasSubstr("model.safetensors"),
                                 HasSubstr("'" + key_weight + "' holds numbers that are not finite")));
  }
}

TEST_F(ChangedCheckpoint, WithoutAHeadIsNoTrainedClassifier) {
  rewrite([](auto& tensors) { tensors.erase("classifier.weight"); });
  EXPECT_THAT(refusal(), AllOf(HasSubstr("tensor 'classifier.weight' is missing"), HasSubstr("a bare encoder")));
  rewrite([](auto& tensors) { tensors.erase("bert.pooler.dense.weight"); });
  EXPECT_THAT(refusal(), AllOf(HasSubstr("bert.pooler.dense.weight' is missing"), HasSubstr("computes with it")));
}

TEST_F(ChangedCheckpoint, WithoutWeightsSaysWhatIsExpected) {
  fs::remove(directory / "model.safetensors");
  EXPECT_THAT(refusal(), HasSubstr("no model.safetensors there, no pytorch_model.bin"));
  temporary.file("pytorch_model.bin", "");
  EXPECT_THAT(refusal(), HasSubstr("pytorch_model.bin: expected a dictionary of tensors that torch.save"));
}

TEST_F(ChangedCheckpoint, WithoutAShardIsRefusedNamingIt) {
  fs::remove(directory / "model.safetensors");
  copy("sharded");
  fs::remove(directory / "model-00003-of-00005.safetensors");
  EXPECT_THAT(refusal(), HasSubstr("model-00003-of-00005.safetensors"));
  for (const char* index : {"{}", R"({"weight_map": 3})"}) {
    temporary.file("model.safetensors.index.json", index);
    EXPECT_THAT(refusal(), HasSubstr("expected a JSON object with a 'weight_map'"));
  }
  temporary.file("model.safetensors.index.json", "[");
  EXPECT_THAT(refusal(), HasSubstr("model.safetensors.index.json: not valid JSON"));
  for (const char* file : {"3", "\"../model.safetensors\"", "\"/model.safetensors\"", "\"..\"", "\"\""}) {
    temporary.file("model.safetensors.index.json", fmt::format(R"({{"weight_map": {{"a": {}}}}})", file));
    EXPECT_THAT(refusal(), HasSubstr("tensor 'a': expected the name of a file beside this one, found "));
  }
}

TEST_F(ChangedCheckpoint, OfAnotherArchitectureIsRefusedWithTheSupportedOnes) {
  set("model_type", "bart");
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr("model_type 'bart' is not supported"), HasSubstr("bert"), HasSubstr("config.json")));
}

TEST_F(ChangedCheckpoint, WithAConfigOfImpossibleValuesIsRefusedNamingTheKey) {
  const auto expect = [&](const std::string& name, const json& value, const std::string& message) {
    const auto before = read_file(directory / "config.json");
    set(name, value);
    EXPECT_THAT(refusal(), HasSubstr(message));
    write_file_atomically(directory / "config.json", before);
  };
  expect("hidden_size", 0, "'hidden_size' must be a positive integer, found 0");
  expect("hidden_size", "forty", "'hidden_size' must be a positive integer, found \"forty\"");
  expect("vocab_size", nullptr, "'vocab_size' must be a positive integer, found null");
  expect("num_attention_heads", 3, "hidden_size 40 is not a multiple of num_attention_heads 3");
  expect("hidden_dropout_prob", 1.0, "'hidden_dropout_prob' must be a number from 0 to below 1");
  expect("hidden_act", "swish", "hidden_act 'swish' is not supported; supported are: gelu, gelu_new, relu");
  expect("hidden_act", 3, "'hidden_act' must be a text, found 3");
  expect("position_embedding_type", "relative_key", "expected no such key or \"absolute\"");
  expect("num_hidden_layers", 2'000'000'000, "'num_hidden_layers' must be at most 1000, found 2000000000");
  expect("num_labels", 2'000'000'000, "'num_labels' must be at most 1000000");
  expect("dtrain_pooling", "median", "'dtrain_pooling' must be pooler, cls or mean, found \"median\"");
  expect("dtrain_pooling", 3, "found 3");
  expect("id2label", json{{"0", "a"}, {"2", "b"}}, "must give a name to each of the ids 0 to 1");
  expect("id2label", json{{"0", 1}}, "must give a name to each of the ids 0 to 0");
  expect("id2label", json::array({"a", "b"}), "must give a name");
  expect("id2label", json{{"0", "a"}, {"1", "b"}}, "expected shape [2, 40], found [3, 40]");
  expect("num_hidden_layers", 4, "encoder.layer.3.attention.self.query.weight' of shape [40, 40] is missing");
  temporary.file("config.json", "{");
  EXPECT_THAT(refusal(), HasSubstr("not valid JSON"));
  temporary.file("config.json", "[]");
  EXPECT_THAT(refusal(), HasSubstr("expected a JSON object, found array"));
  fs::remove(directory / "config.json");
  EXPECT_THAT(refusal(), HasSubstr("no config.json there"));
}

TEST_F(ChangedCheckpoint, NamesItsLabels) {
  const auto labels = [&] { return read_encoder_config(directory).labels; };
  EXPECT_EQ(labels(), (std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2"}));
  json many = json::object();
  for (int i = 0; i < 12; ++i) many[std::to_string(i)] = "class " + std::to_string(i);
  set("id2label", many);
  EXPECT_EQ(labels()[10], "class 10");  // not in the order of the keys as texts
  auto without = config();
  without.erase("id2label");
  write_file_atomically(directory / "config.json", without.dump());
  EXPECT_EQ(labels(), (std::vector<std::string>{"LABEL_0", "LABEL_1"}));  // transformers' default
  set("num_labels", 3);
  EXPECT_EQ(labels(), (std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2"}));
  without.erase("num_labels");
  write_file_atomically(directory / "config.json", without.dump());
  set("architectures", {"BertModel"});
  EXPECT_TRUE(labels().empty());
}

TEST_F(ChangedCheckpoint, HasTheRatesOfTrainingThatItsConfigNames) {
  const auto config = [&](const std::string& key, const json& value) {
    set(key, value);
    return read_encoder_config(directory);
  };
  EXPECT_EQ(config("hidden_dropout_prob", 0.25).hidden_dropout, 0.25);
  EXPECT_EQ(config("hidden_dropout_prob", 0.25).attention_output_dropout, 0.25);
  EXPECT_EQ(config("classifier_dropout", nullptr).classifier_dropout, 0.25);
  EXPECT_EQ(config("classifier_dropout", 0.5).classifier_dropout, 0.5);
  EXPECT_EQ(config("attention_probs_dropout_prob", 0.75).attention_dropout, 0.75);
  EXPECT_EQ(config("initializer_range", 0.5).initializer_range, 0.5);
  EXPECT_EQ(config("pad_token_id", 7).padding_token, 7);
  EXPECT_EQ(config("pad_token_id", nullptr).padding_token, -1);
  copy("distilbert");
  EXPECT_EQ(config("dropout", 0.25).hidden_dropout, 0.25);
  EXPECT_EQ(config("attention_dropout", 0.75).attention_dropout, 0.75);
  EXPECT_EQ(config("seq_classif_dropout", 0.5).classifier_dropout, 0.5);
}

TEST_F(ChangedCheckpoint, WithAHeadForAnotherTaskGivesItsBodyAlone) {
  set("architectures", {"BertForTokenClassification"});
  EXPECT_TRUE(read_encoder_config(directory).labels.empty());
  EXPECT_THAT(refusal(), AllOf(HasSubstr("'architectures': expected a trained BertForSequenceClassification"),
                               HasSubstr("found BertForTokenClassification")));
  EXPECT_NO_THROW(load_classifier({.directory = directory, .pooling = {}, .classes = 2}));
}

TEST_F(ChangedCheckpoint, PoolsAsItsDirectorySays) {
  const auto pooling = [&] { return read_encoder_config(directory).pooling; };
  EXPECT_EQ(pooling(), Pooling::pooler);
  fs::create_directories(directory / "1_Pooling");
  temporary.file("1_Pooling/config.json", R"({"pooling_mode_mean_tokens": true})");
  EXPECT_EQ(pooling(), Pooling::mean);
  temporary.file("1_Pooling/config.json", R"({"pooling_mode_mean_tokens": false, "pooling_mode_cls_token": true})");
  EXPECT_EQ(pooling(), Pooling::cls);
  temporary.file("1_Pooling/config.json", R"({"pooling_mode": ["mean"], "embedding_dimension": 40})");
  EXPECT_EQ(pooling(), Pooling::mean);
  for (const char* other : {R"({"pooling_mode_max_tokens": true})", R"({"pooling_mode": "lasttoken"})",
                            R"({"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true})"}) {
    temporary.file("1_Pooling/config.json", other);
    EXPECT_THAT(refusal(), AllOf(HasSubstr("1_Pooling/config.json: the pooling"), HasSubstr("Choose with --pooling")));
    EXPECT_NO_THROW(load_classifier({.directory = directory, .pooling = Pooling::mean, .classes = 2}));
  }
  set("dtrain_pooling", "mean");
  EXPECT_EQ(pooling(), Pooling::mean);
}

TEST_F(ChangedCheckpoint, PoolsAsItsModulesSay) {
  const auto modules = [&](const std::vector<std::string>& types) {
    json list = json::array();
    for (const auto& type : types)
      list.push_back({{"idx", list.size()},
                      {"name", "x"},
                      {"path", type == "Pooling" ? "of_mine" : ""},
                      {"type", "sentence_transformers.models." + type}});
    temporary.file("modules.json", list.dump());
  };
  fs::create_directories(directory / "of_mine");
  temporary.file("of_mine/config.json", R"({"pooling_mode": "cls"})");
  modules({"Transformer", "Pooling", "Normalize"});
  EXPECT_EQ(read_encoder_config(directory).pooling, Pooling::cls);
  EXPECT_TRUE(read_encoder_config(directory).notes.empty());
  modules({"Transformer", "Pooling", "Dense"});
  EXPECT_THAT(read_encoder_config(directory).notes,
              testing::ElementsAre(HasSubstr("'sentence_transformers.models.Dense' is left out")));
  modules({"Transformer", "WeightedLayerPooling", "Pooling"});
  EXPECT_THAT(refusal(), AllOf(HasSubstr("WeightedLayerPooling' before the pooling"), HasSubstr("--pooling")));
  for (const char* none : {"{}", "[3]", R"([{"type": 3}])", R"([{"type": "a.Pooling", "path": 3}])"}) {
    temporary.file("modules.json", none);
    EXPECT_THAT(refusal(), HasSubstr("modules.json: expected a list of modules"));
  }
}

TEST_F(ChangedCheckpoint, OfOneTokenTypeTakesPairs) {
  const ReferenceCase one_type("one_type");
  const auto classifier = one_type.load(Pooling::mean, at::kDouble);
  auto batch = one_type.batch();
  batch.types = at::ones_like(batch.types);
  const at::NoGradGuard no_grad;
  ForwardContext context;
  const auto logits = classifier->forward(batch, context);
  EXPECT_LT(largest_difference(logits, one_type.tensor(Pooling::mean, "logits")), 1e-12);
}

}  // namespace
}  // namespace dtrain::model
