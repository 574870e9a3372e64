#include "model/encoder_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/file_keys.h"
#include "base/json_file.h"
#include "base/nearest_name.h"
#include "model/formats/config_keys.h"
#include "model/formats/config_reader.h"
#include "model/formats/sentence_transformers.h"
#include "model/registry.h"

namespace dtrain::model {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostLabels = 1'000'000;

std::optional<Pooling> named_pooling(const json& document, const std::filesystem::path& path) {
  const auto name = document.find("dtrain_pooling");
  if (name == document.end()) return std::nullopt;
  for (const Pooling pooling : {Pooling::pooler, Pooling::cls, Pooling::mean}) {
    if (*name == pooling_name(pooling)) return pooling;
  }
  throw InputError(
      fmt::format("{}: 'dtrain_pooling' must be pooler, cls or mean, found {}", path.string(), shown_json(*name)));
}

void read_pooling(const std::filesystem::path& directory, bool has_pooler, EncoderConfig& config) {
  config.pooling = has_pooler ? Pooling::pooler : Pooling::cls;
  SentencePooling sentence = read_sentence_pooling(directory);
  config.notes.insert(config.notes.end(), sentence.notes.begin(), sentence.notes.end());
  if (const auto named = named_pooling(config.json, directory / "config.json")) {
    config.pooling = *named;
    return;
  }
  config.pooling = sentence.pooling.value_or(config.pooling);
  config.unsupported_pooling = sentence.problem;
}

// The first of `architectures`; empty where there is none.
std::string architecture(const json& document) {
  const auto architectures = document.find("architectures");
  const bool named = architectures != document.end() && architectures->is_array() && !architectures->empty() &&
                     architectures->front().is_string();
  return named ? architectures->front().get<std::string>() : "";
}

bool is_classifier(const std::string& name) { return name.ends_with("ForSequenceClassification"); }

std::vector<std::string> numbered_labels(std::int64_t count) {
  std::vector<std::string> names;
  for (std::int64_t id = 0; id < count; ++id) names.push_back(fmt::format("LABEL_{}", id));
  return names;
}

std::vector<std::string> named_labels(const json& labels, const std::filesystem::path& path) {
  std::vector<std::string> names;
  for (std::size_t id = 0; id < labels.size(); ++id) {
    const auto key = std::to_string(id);
    if (!labels.is_object() || !labels.contains(key) || !labels[key].is_string()) {
      throw InputError(fmt::format("{}: 'id2label' must give a name to each of the ids 0 to {}, found {}",
                                   path.string(), labels.size() - 1, shown_json(labels)));
    }
    names.push_back(labels[key].get<std::string>());
  }
  return names;
}

// As transformers: num_labels goes over an id2label of another size, and two is what both leave out.
std::vector<std::string> label_names(const ConfigReader& reader, const json& document) {
  std::vector<std::string> names;
  const auto labels = document.find("id2label");
  const bool named = labels != document.end() && !labels->is_null();
  if (named) names = named_labels(*labels, reader.path());
  const std::int64_t count = reader.size("num_labels", static_cast<std::int64_t>(names.size()), kMostLabels);
  if (count != static_cast<std::int64_t>(names.size())) return numbered_labels(count);
  return !named && is_classifier(architecture(document)) ? numbered_labels(2) : names;
}

std::optional<ProblemType> named_problem_type(const json& document, const std::filesystem::path& path) {
  const auto named = document.find("problem_type");
  if (named == document.end() || named->is_null()) return std::nullopt;
  try {
    return problem_type(named->is_string() ? named->get<std::string>() : named->dump(),
                        fmt::format("{}: 'problem_type'", path.string()));
  } catch (const UsageError& error) {
    throw InputError(error.what());
  }
}

}  // namespace

EncoderConfig read_encoder_config(const std::filesystem::path& model_directory) {
  const auto path = model_directory / "config.json";
  if (!std::filesystem::exists(path)) {
    throw InputError(
        fmt::format("{}: no config.json there; expected a Hugging Face model directory (config.json, "
                    "model.safetensors, vocab.txt or tokenizer.json)",
                    model_directory.string()));
  }
  EncoderConfig config;
  config.json = read_json_object(path);
  const ConfigReader reader(config.json, path);
  config.model_type = reader.text("model_type", "");
  const auto supported = supported_model_types();
  if (std::find(supported.begin(), supported.end(), config.model_type) == supported.end()) {
    throw InputError(fmt::format("{}: model_type '{}' is not supported; supported are: {}{}", path.string(),
                                 config.model_type, fmt::join(supported, ", "),
                                 did_you_mean(config.model_type, supported)));
  }
  const Family& kind = family(config.model_type);
  config.notes = check_keys(config.json, config_keys(kind), path);
  kind.read_config(reader, config);
  read_pooling(model_directory, kind.head.dense_is_pretrained, config);
  config.labels = label_names(reader, config.json);
  const std::string name = architecture(config.json);
  if (!name.empty() && !is_classifier(name) && !name.ends_with("Model")) {
    config.other_head = name;
    config.labels.clear();
  }
  config.problem_type = named_problem_type(config.json, path);
  return config;
}

}  // namespace dtrain::model
