#include "model/formats/classifier_files.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/random.h"
#include "model/formats/model_weights.h"
#include "model/formats/safetensors.h"
#include "model/registry.h"

namespace dtrain::model {
namespace {

// Drawn on the CPU whatever the device, so that every machine starts from the same head.
void draw(Linear& linear, double deviation, at::Generator& generator) {
  linear.weight.set_value(at::empty({linear.out_features(), linear.in_features()}).normal_(0, deviation, generator));
  linear.bias.set_value(at::zeros({linear.out_features()}));
}

// The name under which a checkpoint holds a tensor: a bare encoder's lack the prefix, and BERT's oldest call a norm's
// weight and bias gamma and beta. The first of these that is there, else the name.
std::string find_name(const ModelWeights& file, const std::string& name, const std::string& prefix) {
  for (const auto& [now, before] : {std::pair("", ""), std::pair(".weight", ".gamma"), std::pair(".bias", ".beta")}) {
    if (!name.ends_with(now)) continue;
    std::string known = name.substr(0, name.size() - std::string(now).size()) + before;
    if (file.contains(known)) return known;
    if (known.starts_with(prefix) && file.contains(known.substr(prefix.size()))) return known.substr(prefix.size());
  }
  return name;
}

}  // namespace

ProblemType problem_type_of_outputs(std::optional<ProblemType> named, std::int64_t outputs) {
  return named.value_or(outputs == 1 ? ProblemType::regression : ProblemType::single_label_classification);
}

std::unique_ptr<Classifier> load_classifier(const LoadOptions& options) {
  const EncoderConfig config = read_encoder_config(options.directory);
  const Family& kind = family(config.model_type);
  const Pooling pooling = options.pooling.value_or(config.pooling);
  if (pooling == Pooling::pooler && !kind.head.dense_is_pretrained) {
    throw UsageError(fmt::format("{}: a {} model has no pooler; expected --pooling cls or mean",
                                 options.directory.string(), config.model_type));
  }
  if (!options.pooling && !config.unsupported_pooling.empty()) throw InputError(config.unsupported_pooling);
  if (options.trained_head && !config.other_head.empty()) {
    throw InputError(fmt::format(
        "{}: 'architectures': expected a trained {}, found {}, whose head is for another task; train one on it with "
        "dtrain train --model",
        (options.directory / "config.json").string(), kind.classifier_architecture, config.other_head));
  }
  const std::int64_t classes = options.trained_head ? static_cast<std::int64_t>(config.labels.size()) : options.classes;
  auto model = std::make_unique<Classifier>(config, pooling, classes);
  model->problem_type = options.problem_type.value_or(
      options.trained_head ? problem_type_of_outputs(config.problem_type, classes) : model->problem_type);
  const auto weights = options.weights ? options.weights : std::make_shared<const ModelWeights>(options.directory);
  const ModelWeights& file = *weights;
  const auto name_in_file = [&](const Parameter& parameter) { return find_name(file, parameter.name(), kind.prefix); };
  const auto read = [&](Parameter& parameter) {
    parameter.set_value(file.float_tensor(name_in_file(parameter), parameter.shape()));
  };
  const auto read_linear = [&](Linear& linear) {
    read(linear.weight);
    read(linear.bias);
  };
  for (Parameter* parameter : model->encoder().embedding_parameters()) read(*parameter);
  for (int layer = 0; layer < model->encoder().layers(); ++layer) {
    for (Parameter* parameter : model->encoder().layer(layer).own_parameters()) read(*parameter);
  }
  auto generator = at::detail::createCPUGenerator(stream_seed(options.head_seed, Purpose::head));
  const bool dense_is_there = file.contains(name_in_file(model->dense.weight));
  if (dense_is_there && (options.trained_head || !model->dense_is_head)) {
    read_linear(model->dense);
  } else if (model->uses_dense()) {
    if (options.trained_head) {
      throw InputError(fmt::format("{}: tensor '{}' is missing, and this classifier computes with it",
                                   options.directory.string(), model->dense.weight.name()));
    }
    draw(model->dense, config.initializer_range, generator);
    model->dense_is_head = true;
  }
  if (options.trained_head) {
    if (!file.contains(model->classifier.weight.name())) {
      throw InputError(
          fmt::format("{}: tensor '{}' is missing; expected a classifier that was trained, found a bare encoder",
                      options.directory.string(), model->classifier.weight.name()));
    }
    read_linear(model->classifier);
  } else {
    draw(model->classifier, config.initializer_range, generator);
  }
  for (Parameter* parameter : model->stored_parameters()) parameter->set_value(parameter->value().to(options.device));
  return model;
}

void save_classifier(Classifier& classifier, const std::vector<std::string>& labels,
                     const std::filesystem::path& directory) {
  ensure_directory(directory);
  nlohmann::json config = classifier.config().json;
  config["architectures"] = {family(classifier.config().model_type).classifier_architecture};
  config["dtrain_pooling"] = pooling_name(classifier.pooling());
  config["problem_type"] = problem_type_name(classifier.problem_type);
  config["id2label"] = nlohmann::json::object();
  config["label2id"] = nlohmann::json::object();
  for (std::size_t id = 0; id < labels.size(); ++id) {
    config["id2label"][std::to_string(id)] = labels[id];
    config["label2id"][labels[id]] = id;
  }
  config.erase("num_labels");
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const Parameter* parameter : classifier.stored_parameters())
    tensors.emplace_back(parameter->name(), parameter->value());
  write_safetensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
  write_file_atomically(directory / "config.json", json_text(config, 2) + "\n");
}

}  // namespace dtrain::model
