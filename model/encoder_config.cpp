#include "model/encoder_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/nearest_name.h"
#include "model/formats/config_reader.h"
#include "model/registry.h"

namespace dtrain::model {
namespace {

using nlohmann::json;

json parse(const std::filesystem::path& path) {
  json document;
  try {
    document = json::parse(read_file(path));
  } catch (const json::parse_error& error) {
    throw InputError(fmt::format("{}: not valid JSON: {}", path.string(), error.what()));
  }
  if (!document.is_object()) {
    throw InputError(fmt::format("{}: expected a JSON object, found {}", path.string(), document.type_name()));
  }
  return document;
}

Pooling default_pooling(const std::filesystem::path& directory, const json& document, Pooling of_architecture) {
  if (document.contains("dtrain_pooling")) {
    const json& name = document["dtrain_pooling"];
    for (const Pooling pooling : {Pooling::pooler, Pooling::cls, Pooling::mean}) {
      if (name == pooling_name(pooling)) return pooling;
    }
    throw InputError(fmt::format("{}: 'dtrain_pooling' must be pooler, cls or mean, found {}",
                                 (directory / "config.json").string(), name.dump()));
  }
  const auto path = directory / "1_Pooling" / "config.json";
  if (!std::filesystem::exists(path)) return of_architecture;
  const json pooling = parse(path);
  const auto chosen = [&](const char* key) { return pooling.contains(key) && pooling[key] == true; };
  if (chosen("pooling_mode_mean_tokens")) return Pooling::mean;
  if (chosen("pooling_mode_cls_token")) return Pooling::cls;
  throw InputError(
      fmt::format("{}: this pooling is not supported; expected pooling_mode_mean_tokens or "
                  "pooling_mode_cls_token to be true. Choose with --pooling.",
                  path.string()));
}

bool is_classifier(const json& document) {
  const auto architectures = document.find("architectures");
  return architectures != document.end() && architectures->is_array() && !architectures->empty() &&
         architectures->front().is_string() &&
         architectures->front().get<std::string>().ends_with("ForSequenceClassification");
}

std::vector<std::string> label_names(const json& document, const std::filesystem::path& path) {
  const auto labels = document.find("id2label");
  if (labels == document.end() || labels->is_null()) {
    // transformers leaves out what is its default: two labels.
    return is_classifier(document) ? std::vector<std::string>{"LABEL_0", "LABEL_1"} : std::vector<std::string>{};
  }
  std::vector<std::string> names;
  for (std::size_t id = 0; id < labels->size(); ++id) {
    const auto key = std::to_string(id);
    if (!labels->is_object() || !labels->contains(key) || !(*labels)[key].is_string()) {
      throw InputError(fmt::format("{}: 'id2label' must give a name to each of the ids 0 to {}, found {}",
                                   path.string(), labels->size() - 1,
                                   labels->dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 200)));
    }
    names.push_back((*labels)[key].get<std::string>());
  }
  return names;
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
  config.json = parse(path);
  const ConfigReader reader(config.json, path);
  config.model_type = reader.text("model_type", "");
  const auto supported = supported_model_types();
  if (std::find(supported.begin(), supported.end(), config.model_type) == supported.end()) {
    throw InputError(fmt::format("{}: model_type '{}' is not supported; supported are: {}{}", path.string(),
                                 config.model_type, fmt::join(supported, ", "),
                                 did_you_mean(config.model_type, supported)));
  }
  const Family& kind = family(config.model_type);
  kind.read_config(reader, config);
  config.pooling =
      default_pooling(model_directory, config.json, kind.head.dense_is_pretrained ? Pooling::pooler : Pooling::cls);
  config.labels = label_names(config.json, path);
  config.problem_type = named_problem_type(config.json, path);
  return config;
}

}  // namespace dtrain::model
