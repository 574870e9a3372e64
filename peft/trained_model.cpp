#include "peft/trained_model.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ostream.h>
#include <fmt/ranges.h>

#include <array>
#include <set>
#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/nearest_name.h"
#include "model/classifier_files.h"
#include "model/safetensors.h"
#include "peft/registry.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kPeftPrefix = "base_model.model.";
constexpr std::array kTokenizerFiles = {
    "vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "merges.txt", "vocab.json"};

void copy_tokenizer(const fs::path& from, const fs::path& to) {
  for (const char* name : kTokenizerFiles) {
    if (fs::exists(from / name)) write_file_atomically(to / name, read_file(from / name));
  }
}

json parse_file(const fs::path& path) {
  json document = json::parse(read_file(path), nullptr, false);
  if (!document.is_object()) throw InputError(fmt::format("{}: expected a JSON object", path.string()));
  return document;
}

// A value of an adapter_config.json, of the type of the fallback.
template <typename Value>
Value value_or(const json& config, const char* key, Value fallback, const fs::path& path) {
  if (!config.contains(key) || config[key].is_null()) return fallback;
  try {
    return config[key].get<Value>();
  } catch (const json::exception&) {
    throw InputError(fmt::format("{}: '{}' has an unexpected type: {}", path.string(), key, config[key].dump()));
  }
}

// The method of a PEFT configuration file, as a spec that makes the same method here.
MethodSpec spec_of_peft_config(const json& config, const fs::path& path) {
  const auto type = value_or<std::string>(config, "peft_type", "", path);
  if (type != "LORA") {
    throw InputError(fmt::format("{}: peft_type '{}' is not supported; expected LORA", path.string(), type));
  }
  for (const char* key : {"use_dora", "use_rslora", "fan_in_fan_out"}) {
    if (value_or(config, key, false, path)) {
      throw InputError(fmt::format("{}: {} = true is not supported", path.string(), key));
    }
  }
  for (const char* key : {"rank_pattern", "alpha_pattern", "layers_to_transform"}) {
    if (config.contains(key) && !config[key].is_null() && !config[key].empty()) {
      throw InputError(fmt::format("{}: {} is not supported", path.string(), key));
    }
  }
  MethodSpec spec{"lora", {}};
  spec.settings["r"] = std::to_string(value_or<std::int64_t>(config, "r", 8, path));
  spec.settings["lora_alpha"] = fmt::format("{}", value_or(config, "lora_alpha", 8.0, path));
  spec.settings["lora_dropout"] = fmt::format("{}", value_or(config, "lora_dropout", 0.0, path));
  spec.settings["bias"] = value_or<std::string>(config, "bias", "none", path);
  std::vector<std::string> targets;
  if (config.contains("target_modules") && config["target_modules"].is_string()) {
    targets = {config["target_modules"].get<std::string>()};
  } else {
    targets = value_or(config, "target_modules", targets, path);
  }
  if (targets.empty()) throw InputError(fmt::format("{}: target_modules is missing", path.string()));
  spec.settings["target_modules"] = fmt::format("{}", fmt::join(targets, "+"));
  return spec;
}

model::Pooling described_pooling(const json& description, const fs::path& path) {
  const auto name = value_or<std::string>(description, "pooling", "", path);
  for (const auto pooling : {model::Pooling::pooler, model::Pooling::cls, model::Pooling::mean}) {
    if (model::pooling_name(pooling) == name) return pooling;
  }
  throw InputError(fmt::format("{}: 'pooling' must be pooler, cls or mean, found '{}'", path.string(), name));
}

void load_tensors(model::Classifier& classifier, const model::SafetensorsFile& file, bool peft,
                  const fs::path& base_model) {
  std::set<std::string> remaining;
  for (const auto& name : file.names()) remaining.insert(name);
  // With bias = all PEFT writes the bias of the head under these names, too.
  for (const char* wrapper : {"modules_to_save", "original_module"}) {
    remaining.erase(fmt::format("{}classifier.{}.bias", kPeftPrefix, wrapper));
  }
  std::vector<std::string> known;
  for (const auto& [name, parameter] : trained_parameters(classifier, peft)) {
    known.push_back(name);
    if (!file.contains(name)) {
      throw InputError(fmt::format("{}: tensor '{}' of shape {} is missing. Is the adapter for another model?",
                                   file.path().string(), name, fmt::streamed(parameter->value().sizes())));
    }
    if (at::IntArrayRef(file.shape(name)) != parameter->value().sizes()) {
      throw InputError(
          fmt::format("{}: tensor '{}': the base model {} needs shape {}, found {}. Is the adapter for "
                      "another model?",
                      file.path().string(), name, base_model.string(), fmt::streamed(parameter->value().sizes()),
                      fmt::streamed(at::IntArrayRef(file.shape(name)))));
    }
    parameter->set_value(file.float_tensor(name, parameter->value().sizes()).to(parameter->value().device()));
    remaining.erase(name);
  }
  if (!remaining.empty()) {
    throw InputError(fmt::format(
        "{}: tensor '{}' has no place in the base model {}{}. Is the adapter for another model?", file.path().string(),
        *remaining.begin(), base_model.string(), did_you_mean(*remaining.begin(), known)));
  }
}

void write_trained(model::Classifier& classifier, const MethodSpec& spec, const std::vector<std::string>& labels,
                   const fs::path& base_model, const fs::path& directory) {
  const auto method = make_method(spec);
  ensure_directory(directory);
  if (method->changes_whole_model()) {
    model::save_classifier(classifier, labels, directory);
    copy_tokenizer(base_model, directory);
    return;
  }
  const json config = method->adapter_config(classifier, base_model.string());
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, parameter] : trained_parameters(classifier, !config.is_null())) {
    tensors.emplace_back(name, parameter->value());
  }
  model::write_safetensors(directory / (config.is_null() ? "weights.safetensors" : "adapter_model.safetensors"),
                           tensors, {{"format", "pt"}});
  if (!config.is_null()) write_file_atomically(directory / "adapter_config.json", config.dump(2) + "\n");
  const json description = {{"schema", 1},
                            {"method", spec.text()},
                            {"base_model", base_model.string()},
                            {"pooling", model::pooling_name(classifier.pooling())},
                            {"labels", labels}};
  write_file_atomically(directory / "dtrain.json", description.dump(2) + "\n");
}

}  // namespace

fs::path save_trained(model::Classifier& classifier, const MethodSpec& spec, const std::vector<std::string>& labels,
                      const fs::path& base_model, const fs::path& output) {
  const fs::path directory = output / (make_method(spec)->changes_whole_model() ? "model" : "adapter");
  // Some of its files alone are no model: the directory gets its name when all are there.
  const fs::path temporary = directory.string() + ".part";
  std::error_code error;
  fs::remove_all(temporary, error);
  try {
    write_trained(classifier, spec, labels, fs::absolute(base_model).lexically_normal(), temporary);
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
  fs::remove_all(directory, error);
  fs::rename(temporary, directory, error);
  if (error) throw TrainingError(fmt::format("cannot write {}: {}", directory.string(), error.message()));
  return directory;
}

TrainedModel load_trained(const fs::path& given, const std::optional<fs::path>& base_model,
                          const std::optional<model::Pooling>& pooling, at::Device device, const Log& log) {
  fs::path directory = given;
  for (const char* part : {"model", "adapter"}) {
    if (fs::is_directory(given / part)) directory = given / part;
  }
  TrainedModel trained;
  const bool peft = fs::exists(directory / "adapter_config.json");
  const bool described = fs::exists(directory / "dtrain.json");
  if (!peft && !described) {
    if (!fs::exists(directory / "config.json")) {
      throw InputError(
          fmt::format("{}: expected a run's output, a Hugging Face model (config.json) or an adapter "
                      "(adapter_config.json or dtrain.json), found none of them",
                      given.string()));
    }
    trained.classifier =
        model::load_classifier({.directory = directory, .pooling = pooling, .trained_head = true, .device = device});
    trained.labels = trained.classifier->config().labels;
    trained.tokenizer = directory;
    trained.method = {"full", {}};
    return trained;
  }

  const json description = described ? parse_file(directory / "dtrain.json") : json::object();
  const json config = peft ? parse_file(directory / "adapter_config.json") : json::object();
  trained.method = peft
                       ? spec_of_peft_config(config, directory / "adapter_config.json")
                       : parse_method_spec(value_or<std::string>(description, "method", "", directory / "dtrain.json"));
  const fs::path base = base_model.value_or(
      described ? value_or<std::string>(description, "base_model", "", directory / "dtrain.json")
                : value_or<std::string>(config, "base_model_name_or_path", "", directory / "adapter_config.json"));
  if (!fs::is_directory(base)) {
    throw InputError(fmt::format("{}: its base model '{}' is not a directory here; name it with --model",
                                 directory.string(), base.string()));
  }
  const model::SafetensorsFile file(directory / (peft ? "adapter_model.safetensors" : "weights.safetensors"));
  const std::string head = std::string(peft ? kPeftPrefix : "") + "classifier.weight";
  if (!file.contains(head)) {
    throw InputError(
        fmt::format("{}: tensor '{}' is missing; an adapter without its trained classifier would score at random",
                    file.path().string(), head));
  }
  if (file.shape(head).size() != 2) {
    throw InputError(fmt::format("{}: tensor '{}': expected shape [classes, hidden], found {}", file.path().string(),
                                 head, fmt::streamed(at::IntArrayRef(file.shape(head)))));
  }
  model::LoadOptions load{.directory = base, .pooling = pooling, .classes = file.shape(head)[0], .device = device};
  if (!pooling && described) {
    load.pooling = described_pooling(description, directory / "dtrain.json");
  } else if (!pooling) {
    // PEFT's own adapters are for transformers' ...ForSequenceClassification, whatever the base model's directory says.
    load.pooling = model::Pooling::pooler;
  }
  trained.classifier = model::load_classifier(load);
  try {
    make_method(trained.method)->attach(*trained.classifier, 0);
  } catch (const UsageError& error) {
    throw InputError(fmt::format("{}: {} (base model {}). Is the adapter for another model?", directory.string(),
                                 error.what(), base.string()));
  }
  load_tensors(*trained.classifier, file, peft, base);
  trained.labels = value_or(description, "labels", std::vector<std::string>{}, directory / "dtrain.json");
  if (trained.labels.empty()) {
    for (std::int64_t id = 0; id < load.classes; ++id) trained.labels.push_back(std::to_string(id));
    log.warning(
        fmt::format("{}: no label names there; the classes are called 0 to {}", directory.string(), load.classes - 1));
  }
  if (static_cast<std::int64_t>(trained.labels.size()) != load.classes) {
    throw InputError(fmt::format("{}: {} labels, but the classifier has {} classes",
                                 (directory / "dtrain.json").string(), trained.labels.size(), load.classes));
  }
  const bool own_tokenizer = fs::exists(directory / "vocab.txt") || fs::exists(directory / "tokenizer.json");
  trained.tokenizer = own_tokenizer ? directory : base;
  return trained;
}

std::int64_t stored_bytes(const fs::path& directory) {
  std::int64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) bytes += static_cast<std::int64_t>(entry.file_size());
  }
  return bytes;
}

}  // namespace dtrain::peft
