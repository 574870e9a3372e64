#include "peft/formats/trained_model.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <array>
#include <map>
#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/nearest_name.h"
#include "model/formats/classifier_files.h"
#include "model/registry.h"
#include "peft/adapter_config.h"
#include "peft/formats/adapter_files.h"
#include "peft/registry.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

using Tensors = std::map<std::string, at::Tensor>;

constexpr std::array kTokenizerFiles = {"vocab.txt",
                                        "vocab.json",
                                        "merges.txt",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json"};

// Of these, the ones without which there is no tokenizer.
constexpr std::array kVocabularyFiles = {"vocab.txt", "vocab.json", "tokenizer.json"};

void copy_tokenizer(const fs::path& from, const fs::path& to) {
  for (const char* name : kTokenizerFiles) {
    if (fs::exists(from / name)) write_file_atomically(to / name, read_file(from / name));
  }
}

model::Pooling described_pooling(const AdapterConfig& description) {
  const auto name = description.value<std::string>("pooling", "");
  for (const auto pooling : {model::Pooling::pooler, model::Pooling::cls, model::Pooling::mean}) {
    if (model::pooling_name(pooling) == name) return pooling;
  }
  throw InputError(
      fmt::format("{}: 'pooling' must be pooler, cls or mean, found '{}'", description.path().string(), name));
}

// Before there were several, all adapters were of the first.
ProblemType described_problem_type(const AdapterConfig& description) {
  const auto name = description.value<std::string>(
      "problem_type", std::string(problem_type_name(ProblemType::single_label_classification)));
  try {
    return problem_type(name, fmt::format("{}: 'problem_type'", description.path().string()));
  } catch (const UsageError& error) {
    throw InputError(error.what());
  }
}

void load_tensors(model::Classifier& classifier, const Method& method, Tensors tensors, const fs::path& file,
                  const fs::path& base_model) {
  std::vector<std::string> known;
  for (const auto& [name, parameter] : method.file_parameters(classifier)) {
    known.push_back(name);
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      throw InputError(fmt::format("{}: tensor '{}' of shape {} is missing. Is the adapter for another model?",
                                   file.string(), name, fmt::streamed(parameter->value().sizes())));
    }
    if (found->second.sizes() != parameter->value().sizes()) {
      throw InputError(
          fmt::format("{}: tensor '{}': the base model {} needs shape {}, found {}. Is the adapter for "
                      "another model?",
                      file.string(), name, base_model.string(), fmt::streamed(parameter->value().sizes()),
                      fmt::streamed(found->second.sizes())));
    }
    parameter->set_value(found->second.to(parameter->value().device()));
    tensors.erase(found);
  }
  if (!tensors.empty()) {
    const std::string& name = tensors.begin()->first;
    throw InputError(
        fmt::format("{}: tensor '{}' has no place in the base model {}{}. Is the adapter for another model?",
                    file.string(), name, base_model.string(), did_you_mean(name, known)));
  }
}

void write_trained(model::Classifier& classifier, const MethodSpec& spec, const std::vector<std::string>& labels,
                   const fs::path& base_model, const fs::path& tokenizer, const fs::path& directory) {
  const auto method = make_method(spec);
  ensure_directory(directory);
  if (method->changes_whole_model()) {
    model::save_classifier(classifier, labels, directory);
    copy_tokenizer(tokenizer, directory);
    return;
  }
  if (tokenizer != base_model) copy_tokenizer(tokenizer, directory);
  write_adapter({classifier, *method, labels, base_model.string()}, directory);
  const json description = {{"schema", 1},
                            {"method", spec.text()},
                            {"base_model", base_model.string()},
                            {"pooling", model::pooling_name(classifier.pooling())},
                            {"labels", labels},
                            {"problem_type", problem_type_name(classifier.problem_type)}};
  write_file_atomically(directory / kDescriptionFile, description.dump(2) + "\n");
}

// A base model of the same shapes takes an adapter that was trained for another, and what they score means nothing. The
// same model has another path on another machine, but hardly another name.
void warn_of_other_base(const AdapterFiles& files, const fs::path& base, const fs::path& directory, const Log& log) {
  const auto name = [](const fs::path& path) { return (path / "").parent_path().filename(); };
  const fs::path trained_for = files.base_model();
  if (trained_for.empty() || name(trained_for) == name(fs::absolute(base).lexically_normal())) return;
  log.warning(
      fmt::format("{}: the adapter names {} as its base model, and is used with {}; where that is another model, "
                  "its scores mean nothing",
                  directory.string(), trained_for.string(), base.string()));
}

// The classes that the head in an adapter's file has. A method that wraps modules and one that does not write it under
// different prefixes.
std::int64_t count_classes(const Tensors& tensors, const model::Family& family, const fs::path& file) {
  const std::string head = family.head.classifier + ".weight";
  for (const char* prefix : {"base_model.model.", "base_model.", ""}) {
    const auto found = tensors.find(prefix + head);
    if (found == tensors.end()) continue;
    if (found->second.dim() != 2) {
      throw InputError(fmt::format("{}: tensor '{}': expected shape [classes, hidden], found {}", file.string(),
                                   found->first, fmt::streamed(found->second.sizes())));
    }
    return found->second.size(0);
  }
  throw InputError(
      fmt::format("{}: tensor '{}' is missing; an adapter without its trained classifier would score at random",
                  file.string(), head));
}

// What is wrong with the settings alone is wrong for any model.
std::unique_ptr<Method> make_read_method(const MethodSpec& spec, const fs::path& directory) {
  try {
    return make_method(spec);
  } catch (const UsageError& error) {
    throw InputError(fmt::format("{}: {}", directory.string(), error.what()));
  }
}

}  // namespace

fs::path save_trained(model::Classifier& classifier, const MethodSpec& spec, const std::vector<std::string>& labels,
                      const fs::path& base_model, const fs::path& output, const fs::path& tokenizer) {
  const fs::path directory = output / (make_method(spec)->changes_whole_model() ? "model" : "adapter");
  // Some of its files alone are no model: the directory gets its name when all are there.
  const fs::path temporary = directory.string() + ".part";
  std::error_code error;
  fs::remove_all(temporary, error);
  try {
    const fs::path base = fs::absolute(base_model).lexically_normal();
    write_trained(classifier, spec, labels, base, tokenizer.empty() ? base : fs::absolute(tokenizer).lexically_normal(),
                  temporary);
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
  replace_directory(temporary, directory);
  return directory;
}

TrainedModel load_trained(const fs::path& given, const std::optional<fs::path>& base_model,
                          const std::optional<model::Pooling>& pooling, at::Device device, const Log& log,
                          std::optional<ProblemType> problem_type) {
  fs::path directory = given;
  for (const char* part : {"model", "adapter"}) {
    if (fs::is_directory(given / part)) directory = given / part;
  }
  const auto files = open_adapter(directory);
  TrainedModel trained;
  if (!files) {
    if (!fs::exists(directory / "config.json")) {
      throw InputError(
          fmt::format("{}: expected a run's output, a Hugging Face model (config.json) or an adapter "
                      "(adapter_config.json or dtrain.json), found none of them",
                      given.string()));
    }
    trained.classifier = model::load_classifier({.directory = directory,
                                                 .pooling = pooling,
                                                 .trained_head = true,
                                                 .problem_type = problem_type,
                                                 .device = device});
    trained.labels = trained.classifier->config().labels;
    // transformers' names for classes without one.
    trained.labels_have_names = std::any_of(trained.labels.begin(), trained.labels.end(),
                                            [](const std::string& label) { return !label.starts_with("LABEL_"); });
    trained.tokenizer = trained.base_model = directory;
    trained.method = {"full", {}};
    return trained;
  }

  std::optional<AdapterConfig> description;
  if (fs::exists(directory / kDescriptionFile)) description.emplace(directory / kDescriptionFile);
  const fs::path base = base_model.value_or(description ? fs::path(description->value<std::string>("base_model", ""))
                                                        : files->base_model());
  if (base.empty()) {
    throw InputError(
        fmt::format("{}: it does not say what its base model is; name that with --model", directory.string()));
  }
  if (!fs::is_directory(base)) {
    throw InputError(fmt::format("{}: its base model '{}' is not a directory here; name it with --model",
                                 directory.string(), base.string()));
  }
  if (base_model) warn_of_other_base(*files, base, directory, log);
  const model::EncoderConfig config = model::read_encoder_config(base);
  const model::Family& family = model::family(config.model_type);
  const Tensors tensors = files->tensors(family);
  model::LoadOptions load{.directory = base,
                          .pooling = pooling,
                          .classes = count_classes(tensors, family, files->tensor_file()),
                          .device = device};
  if (!pooling && description) {
    load.pooling = described_pooling(*description);
  } else if (!pooling && family.head.dense_is_pretrained) {
    // PEFT's own adapters are for transformers' ...ForSequenceClassification, whatever the base model's directory says.
    load.pooling = model::Pooling::pooler;
  } else if (!pooling) {
    load.pooling = model::Pooling::cls;
  }
  load.problem_type = problem_type  ? *problem_type
                      : description ? described_problem_type(*description)
                                    : model::problem_type_of_outputs(config.problem_type, load.classes);
  trained.classifier = model::load_classifier(load);
  std::unique_ptr<Method> method;
  try {
    trained.method = files->method(*trained.classifier);
    for (const std::string& notice : files->notices()) log.warning(notice);
    method = make_read_method(trained.method, directory);
    method->attach(*trained.classifier, 0);
  } catch (const UsageError& error) {
    throw InputError(fmt::format("{}: {} (base model {}). Is the adapter for another model?", directory.string(),
                                 error.what(), base.string()));
  }
  load_tensors(*trained.classifier, *method, tensors, files->tensor_file(), base);
  trained.labels = description ? description->value("labels", std::vector<std::string>{}) : files->labels();
  if (trained.labels.empty() && load.problem_type == ProblemType::regression) {
    trained.labels_have_names = false;
    for (std::int64_t id = 0; id < load.classes; ++id) trained.labels.push_back(fmt::format("LABEL_{}", id));
  }
  if (trained.labels.empty()) {
    trained.labels_have_names = false;
    for (std::int64_t id = 0; id < load.classes; ++id) trained.labels.push_back(std::to_string(id));
    log.warning(
        fmt::format("{}: no label names there; the classes are called 0 to {}", directory.string(), load.classes - 1));
  }
  if (static_cast<std::int64_t>(trained.labels.size()) != load.classes) {
    throw InputError(fmt::format("{}: {} labels, but the classifier has {} classes",
                                 (directory / kDescriptionFile).string(), trained.labels.size(), load.classes));
  }
  const bool own_tokenizer = std::any_of(kVocabularyFiles.begin(), kVocabularyFiles.end(),
                                         [&](const char* name) { return fs::exists(directory / name); });
  trained.tokenizer = own_tokenizer ? directory : base;
  trained.base_model = base;
  return trained;
}

bool same_tokenizer(const fs::path& left, const fs::path& right) {
  return std::all_of(kVocabularyFiles.begin(), kVocabularyFiles.end(), [&](const char* name) {
    if (left == right || !fs::exists(left / name) || !fs::exists(right / name)) return true;
    return read_file(left / name) == read_file(right / name);
  });
}

std::int64_t stored_bytes(const fs::path& directory) {
  std::int64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) bytes += static_cast<std::int64_t>(entry.file_size());
  }
  return bytes;
}

}  // namespace dtrain::peft
