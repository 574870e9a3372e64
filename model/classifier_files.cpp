#include "model/classifier_files.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "model/registry.h"
#include "model/safetensors.h"

namespace dtrain::model {
namespace {

// Drawn on the CPU whatever the device, so that every machine starts from the same head.
void draw(Linear& linear, double deviation, at::Generator& generator) {
  linear.weight.set_value(at::empty({linear.out_features(), linear.in_features()}).normal_(0, deviation, generator));
  linear.bias.set_value(at::zeros({linear.out_features()}));
}

}  // namespace

std::unique_ptr<Classifier> load_classifier(const LoadOptions& options) {
  const EncoderConfig config = read_encoder_config(options.directory);
  const std::int64_t classes = options.trained_head ? static_cast<std::int64_t>(config.labels.size()) : options.classes;
  auto model = std::make_unique<Classifier>(config, options.pooling.value_or(config.pooling), classes);
  const SafetensorsModel file(options.directory);
  const std::string prefix = family(config.model_type).prefix;
  const auto read = [&](Parameter& parameter, at::IntArrayRef shape) {
    const bool bare = !file.contains(parameter.name()) && parameter.name().starts_with(prefix);
    parameter.set_value(file.float_tensor(bare ? parameter.name().substr(prefix.size()) : parameter.name(), shape));
  };

  const auto shapes = model->encoder().shapes();
  std::size_t next = 0;
  for (Parameter* parameter : model->encoder().embedding_parameters()) read(*parameter, shapes[next++]);
  for (int layer = 0; layer < model->encoder().layers(); ++layer) {
    for (Parameter* parameter : model->encoder().layer_parameters(layer)) read(*parameter, shapes[next++]);
  }
  auto generator = at::detail::createCPUGenerator(options.head_seed);
  const auto read_linear = [&](Linear& linear) {
    read(linear.weight, {linear.out_features(), linear.in_features()});
    read(linear.bias, {linear.out_features()});
  };
  const std::string pooler = model->pooler.weight.name();
  if (file.contains(pooler) || file.contains(pooler.substr(prefix.size()))) {
    read_linear(model->pooler);
  } else if (model->pooling() == Pooling::pooler) {
    if (options.trained_head) {
      throw InputError(fmt::format("{}: tensor '{}' is missing, and this classifier pools with it",
                                   options.directory.string(), pooler));
    }
    draw(model->pooler, config.initializer_range, generator);
    model->pooler_is_new = true;
  }
  if (options.trained_head) {
    if (!file.contains(model->classifier.weight.name())) {
      throw InputError(
          fmt::format("{}: tensor 'classifier.weight' is missing; expected a classifier that was trained, "
                      "found a bare encoder",
                      options.directory.string()));
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
  config["problem_type"] = "single_label_classification";
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
  write_file_atomically(directory / "config.json", config.dump(2) + "\n");
}

}  // namespace dtrain::model
