#include "peft/formats/trained_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/listing.h"
#include "base/tokenizer_file_names.h"
#include "model/formats/classifier_files.h"
#include "model/registry.h"
#include "peft/adapter_config.h"
#include "peft/formats/adapter_files.h"
#include "peft/formats/adapter_tensors.h"
#include "peft/registry.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void write_tokenizer(const TokenizerContents& tokenizer, const fs::path& directory) {
  for (const auto& [name, content] : tokenizer.contents) write_file_atomically(directory / name, content);
}

bool have_names(const std::vector<std::string>& labels) {
  // transformers' names for classes without one.
  return std::any_of(labels.begin(), labels.end(),
                     [](const std::string& label) { return !label.starts_with("LABEL_"); });
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

void write_trained(model::Classifier& classifier, const MethodSpec& spec, const std::vector<std::string>& labels,
                   const fs::path& base_model, const TokenizerContents& tokenizer, const fs::path& directory) {
  const auto method = make_method(spec);
  ensure_directory(directory);
  if (method->changes_whole_model()) {
    model::save_classifier(classifier, labels, directory);
    write_tokenizer(tokenizer, directory);
    return;
  }
  if (tokenizer.directory != base_model) write_tokenizer(tokenizer, directory);
  write_adapter({classifier, *method, labels, base_model.string()}, directory);
  const json description = {{"schema", 1},
                            {"method", spec.text()},
                            {"base_model", base_model.string()},
                            {"pooling", model::pooling_name(classifier.pooling())},
                            {"labels", labels},
                            {"problem_type", problem_type_name(classifier.problem_type)}};
  write_file_atomically(directory / kDescriptionFile, json_text(description, 2) + "\n");
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

// The most of a rank or a width that an adapter may have before what it adds is larger than the layers it is added to:
// memory is taken for it before its tensors are seen to fit. Small models have ranks beyond their width.
std::int64_t largest_size(const model::EncoderConfig& config) {
  constexpr std::int64_t kOfSmallModels = 1'024;
  return std::max({config.hidden_size, config.intermediate_size, kOfSmallModels});
}

// What is wrong with the settings alone is wrong for any model.
std::unique_ptr<Method> make_read_method(const MethodSpec& spec, const model::Classifier& classifier,
                                         const fs::path& directory) {
  try {
    return make_method(spec, largest_size(classifier.config()));
  } catch (const UsageError& error) {
    throw InputError(fmt::format("{}: {}", directory.string(), error.what()));
  }
}

std::unique_ptr<model::Classifier> load_with(model::LoadOptions options, const ReadWeights& read_weights) {
  if (read_weights) options.weights = read_weights(options);
  return model::load_classifier(options);
}

TrainedModel load_whole_model(const fs::path& directory, const std::optional<model::Pooling>& pooling,
                              std::optional<ProblemType> problem_type, at::Device device,
                              const ReadWeights& read_weights) {
  TrainedModel trained;
  trained.classifier = load_with({.directory = directory,
                                  .pooling = pooling,
                                  .trained_head = true,
                                  .problem_type = problem_type,
                                  .device = device},
                                 read_weights);
  trained.labels = trained.classifier->config().labels;
  trained.labels_have_names = have_names(trained.labels);
  trained.tokenizer = trained.base_model = directory;
  trained.method = {"full", {}};
  return trained;
}

// The base model of an adapter, which `given` overrides.
fs::path find_base_model(const AdapterFiles& files, const std::optional<AdapterConfig>& description,
                         const fs::path& directory, const std::optional<fs::path>& given) {
  const fs::path base =
      given.value_or(description ? fs::path(description->value<std::string>("base_model", "")) : files.base_model());
  if (base.empty()) {
    throw InputError(
        fmt::format("{}: it does not say what its base model is; name that with --model", directory.string()));
  }
  if (!fs::is_directory(base)) {
    throw InputError(fmt::format("{}: its base model '{}' is not a directory here; name it with --model",
                                 directory.string(), base.string()));
  }
  return base;
}

std::unique_ptr<model::Classifier> load_base_model(const AdapterFiles& files, const TensorsByName& tensors,
                                                   const std::optional<AdapterConfig>& description,
                                                   const fs::path& base, const std::optional<model::Pooling>& pooling,
                                                   std::optional<ProblemType> problem_type, at::Device device,
                                                   const ReadWeights& read_weights) {
  const model::EncoderConfig config = model::read_encoder_config(base);
  const model::Family& family = model::family(config.model_type);
  const auto classes = count_classes(tensors, config, family, files.tensor_file());
  if (!classes && !files.keeps_head()) {
    throw InputError(fmt::format(
        "{}: tensor '{}.weight' is missing{}; an adapter without its trained classifier would score at random",
        files.tensor_file().string(), family.head.classifier, first_of(tensors)));
  }
  model::LoadOptions load{.directory = base,
                          .pooling = pooling,
                          .classes = classes.value_or(0),
                          .trained_head = !classes,
                          .problem_type = problem_type,
                          .device = device};
  if (!problem_type && description) {
    load.problem_type = described_problem_type(*description);
  } else if (!problem_type && classes) {
    load.problem_type = model::problem_type_of_outputs(config.problem_type, *classes);
  }
  if (!pooling && description) {
    load.pooling = described_pooling(*description);
  } else if (!pooling) {
    // PEFT's own adapters are for transformers' ...ForSequenceClassification, whatever the base model's directory says.
    load.pooling = family.head.dense_is_pretrained ? model::Pooling::pooler : model::Pooling::cls;
  }
  try {
    return load_with(load, read_weights);
  } catch (const InputError& error) {
    if (classes) throw;
    throw InputError(
        fmt::format("{}: the adapter has no classifier of its own, and its base model's cannot be taken: {}",
                    files.tensor_file().string(), error.what()));
  }
}

TrainedModel load_adapter(const AdapterFiles& files, const fs::path& directory,
                          const std::optional<fs::path>& base_model, const std::optional<model::Pooling>& pooling,
                          std::optional<ProblemType> problem_type, at::Device device, const Log& log,
                          const ReadWeights& read_weights) {
  std::optional<AdapterConfig> description;
  if (fs::exists(directory / kDescriptionFile)) description.emplace(directory / kDescriptionFile);
  const fs::path base = find_base_model(files, description, directory, base_model);
  if (base_model) warn_of_other_base(files, base, directory, log);
  TensorsByName tensors = files.tensors(model::family(model::read_encoder_config(base).model_type));
  TrainedModel trained;
  trained.classifier = load_base_model(files, tensors, description, base, pooling, problem_type, device, read_weights);
  take_word_embeddings(*trained.classifier, tensors, files.tensor_file());
  std::unique_ptr<Method> method;
  try {
    trained.method = files.method(*trained.classifier);
    for (const std::string& notice : files.notices()) log.warning(notice);
    method = make_read_method(trained.method, *trained.classifier, directory);
    method->attach(*trained.classifier, {});
  } catch (const UsageError& error) {
    throw InputError(fmt::format("{}: {} (base model {}). Is the adapter for another model?", directory.string(),
                                 error.what(), base.string()));
  }
  if (trained.classifier->has_own_word_embeddings()) drop_word_embeddings(*trained.classifier, *method, tensors);
  const bool has_head = find_tensor(tensors, trained.classifier->classifier.weight.name()) != tensors.end();
  load_tensors(*trained.classifier, *method, tensors, !has_head, files.tensor_file(), base);
  trained.labels = description ? description->value("labels", std::vector<std::string>{}) : files.labels();
  const bool own_tokenizer = std::any_of(kVocabularyFiles.begin(), kVocabularyFiles.end(),
                                         [&](const char* name) { return fs::exists(directory / name); });
  trained.tokenizer = own_tokenizer ? directory : base;
  trained.base_model = base;
  return trained;
}

// The names of the classes of an adapter whose files do not say them: its base model's, where it has as many, else
// numbers. Either is said.
void take_labels(TrainedModel& trained, const fs::path& directory, const Log& log) {
  const std::int64_t classes = trained.classifier->classes();
  const auto& of_base = trained.classifier->config().labels;
  if (static_cast<std::int64_t>(of_base.size()) == classes && have_names(of_base)) {
    trained.labels = of_base;
    log.warning(
        fmt::format("{}: no label names there; the classes are called as in its base model, in this order: {} "
                    "(--labels gives others)",
                    directory.string(), capped_list(of_base)));
    return;
  }
  trained.labels_have_names = false;
  if (trained.classifier->problem_type == ProblemType::regression) {
    for (std::int64_t id = 0; id < classes; ++id) trained.labels.push_back(fmt::format("LABEL_{}", id));
    return;
  }
  for (std::int64_t id = 0; id < classes; ++id) trained.labels.push_back(std::to_string(id));
  log.warning(fmt::format("{}: no label names there; the classes are called 0 to {} (--labels names them)",
                          directory.string(), classes - 1));
}

}  // namespace

TokenizerContents read_tokenizer_contents(const fs::path& directory) {
  TokenizerContents files{fs::absolute(directory).lexically_normal(), {}};
  for (const char* name : kTokenizerFiles) {
    if (fs::exists(directory / name)) files.contents[name] = read_file(directory / name);
  }
  return files;
}

fs::path save_trained(model::Classifier& classifier, const MethodSpec& spec, const std::vector<std::string>& labels,
                      const fs::path& base_model, const fs::path& output, std::optional<TokenizerContents> tokenizer) {
  const fs::path directory = output / (make_method(spec)->changes_whole_model() ? "model" : "adapter");
  // Some of its files alone are no model: the directory gets its name when all are there.
  const fs::path temporary = directory.string() + ".part";
  std::error_code error;
  fs::remove_all(temporary, error);
  try {
    const fs::path base = fs::absolute(base_model).lexically_normal();
    if (!tokenizer) tokenizer = read_tokenizer_contents(base);
    write_trained(classifier, spec, labels, base, *tokenizer, temporary);
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
  replace_directory(temporary, directory);
  return directory;
}

TrainedModel load_trained(const fs::path& given, const std::optional<fs::path>& base_model,
                          const std::optional<model::Pooling>& pooling, at::Device device, const Log& log,
                          const std::vector<std::string>& labels, std::optional<ProblemType> problem_type,
                          const ReadWeights& read_weights) {
  fs::path directory = given;
  for (const char* part : {"model", "adapter"}) {
    if (fs::is_directory(given / part)) directory = given / part;
  }
  const auto files = open_adapter(directory);
  TrainedModel trained;
  if (files) {
    trained = load_adapter(*files, directory, base_model, pooling, problem_type, device, log, read_weights);
  } else if (fs::exists(directory / "config.json")) {
    trained = load_whole_model(directory, pooling, problem_type, device, read_weights);
  } else {
    throw InputError(
        fmt::format("{}: expected a run's output, a Hugging Face model (config.json) or an adapter "
                    "(adapter_config.json or dtrain.json), found none of them",
                    given.string()));
  }
  if (!labels.empty()) {
    trained.labels = labels;
    trained.labels_have_names = true;
  } else if (trained.labels.empty()) {
    take_labels(trained, directory, log);
  }
  const auto classes = static_cast<std::size_t>(trained.classifier->classes());
  if (trained.labels.size() != classes && !labels.empty()) {
    throw UsageError(fmt::format("--labels: {} names, but the classifier of {} has {} classes", labels.size(),
                                 given.string(), classes));
  }
  if (trained.labels.size() != classes) {
    const fs::path description = directory / kDescriptionFile;
    throw InputError(fmt::format("{}: {} labels, but the classifier has {} classes",
                                 (fs::exists(description) ? description : directory).string(), trained.labels.size(),
                                 classes));
  }
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
