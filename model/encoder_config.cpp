#include "model/encoder_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/nearest_name.h"
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

class Reader {
 public:
  Reader(const json& document, std::filesystem::path path) : document_(document), path_(std::move(path)) {}

  std::int64_t positive(const char* key) const {
    const auto found = document_.find(key);
    if (found == document_.end() || !found->is_number_integer() || found->get<std::int64_t>() <= 0) {
      throw InputError(fmt::format("{}: '{}' must be a positive integer, found {}", path_.string(), key,
                                   found == document_.end() ? "nothing" : found->dump()));
    }
    return found->get<std::int64_t>();
  }

  double number(const char* key, double fallback, double lowest, double below) const {
    const auto found = document_.find(key);
    if (found == document_.end() || found->is_null()) return fallback;
    if (!found->is_number() || found->get<double>() < lowest || found->get<double>() >= below) {
      throw InputError(fmt::format("{}: '{}' must be a number from {} to below {}, found {}", path_.string(), key,
                                   lowest, below, found->dump()));
    }
    return found->get<double>();
  }

  std::string text(const char* key, const std::string& fallback) const {
    const auto found = document_.find(key);
    return found != document_.end() && found->is_string() ? found->get<std::string>() : fallback;
  }

 private:
  const json& document_;
  std::filesystem::path path_;
};

Pooling default_pooling(const std::filesystem::path& directory, const json& document) {
  if (document.contains("dtrain_pooling")) {
    const json& name = document["dtrain_pooling"];
    for (const Pooling pooling : {Pooling::pooler, Pooling::cls, Pooling::mean}) {
      if (name == pooling_name(pooling)) return pooling;
    }
    throw InputError(fmt::format("{}: 'dtrain_pooling' must be pooler, cls or mean, found {}",
                                 (directory / "config.json").string(), name.dump()));
  }
  const auto path = directory / "1_Pooling" / "config.json";
  if (!std::filesystem::exists(path)) return Pooling::pooler;
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
  const Reader reader(config.json, path);
  config.model_type = reader.text("model_type", "");
  const auto supported = supported_model_types();
  if (std::find(supported.begin(), supported.end(), config.model_type) == supported.end()) {
    throw InputError(fmt::format("{}: model_type '{}' is not supported; supported are: {}{}", path.string(),
                                 config.model_type, fmt::join(supported, ", "),
                                 did_you_mean(config.model_type, supported)));
  }
  config.hidden_size = reader.positive("hidden_size");
  config.layers = reader.positive("num_hidden_layers");
  config.heads = reader.positive("num_attention_heads");
  config.intermediate_size = reader.positive("intermediate_size");
  config.vocabulary_size = reader.positive("vocab_size");
  config.max_positions = reader.positive("max_position_embeddings");
  config.token_types = reader.positive("type_vocab_size");
  if (config.hidden_size % config.heads != 0) {
    throw InputError(fmt::format("{}: hidden_size {} is not a multiple of num_attention_heads {}", path.string(),
                                 config.hidden_size, config.heads));
  }
  config.hidden_dropout = reader.number("hidden_dropout_prob", 0.1, 0, 1);
  config.attention_dropout = reader.number("attention_probs_dropout_prob", 0.1, 0, 1);
  config.classifier_dropout = reader.number("classifier_dropout", config.hidden_dropout, 0, 1);
  config.layer_norm_epsilon = reader.number("layer_norm_eps", 1e-12, 0, 1);
  config.initializer_range = reader.number("initializer_range", 0.02, 0, 1e3);
  config.activation = reader.text("hidden_act", "gelu");
  const std::vector<std::string> activations = {"gelu", "gelu_new", "relu"};
  if (std::find(activations.begin(), activations.end(), config.activation) == activations.end()) {
    throw InputError(fmt::format("{}: hidden_act '{}' is not supported; supported are: {}", path.string(),
                                 config.activation, fmt::join(activations, ", ")));
  }
  const std::string positions = reader.text("position_embedding_type", "absolute");
  if (positions != "absolute") {
    throw InputError(fmt::format("{}: position_embedding_type '{}' is not supported; expected 'absolute'",
                                 path.string(), positions));
  }
  config.pooling = default_pooling(model_directory, config.json);
  config.labels = label_names(config.json, path);
  return config;
}

}  // namespace dtrain::model
