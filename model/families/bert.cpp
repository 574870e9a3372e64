#include "model/families/bert.h"

#include <fmt/format.h>

#include "base/error.h"

namespace dtrain::model {

LayerModules bert_layer_modules() {
  return {.query = ".attention.self.query",
          .key = ".attention.self.key",
          .value = ".attention.self.value",
          .attention_output = ".attention.output.dense",
          .attention_norm = ".attention.output.LayerNorm",
          .intermediate = ".intermediate.dense",
          .output = ".output.dense",
          .output_norm = ".output.LayerNorm"};
}

void read_bert_config(const ConfigReader& reader, EncoderConfig& config) {
  config.hidden_size = reader.positive("hidden_size");
  config.layers = reader.positive("num_hidden_layers");
  config.heads = reader.positive("num_attention_heads");
  reader.require_multiple("hidden_size", "num_attention_heads");
  config.intermediate_size = reader.positive("intermediate_size");
  config.vocabulary_size = reader.positive("vocab_size");
  config.max_positions = reader.positive("max_position_embeddings");
  config.padding_token = reader.index("pad_token_id", 0, config.vocabulary_size);
  config.token_types = reader.positive("type_vocab_size");
  config.hidden_dropout = reader.number("hidden_dropout_prob", 0.1, 0, 1);
  config.attention_output_dropout = config.hidden_dropout;
  config.attention_dropout = reader.number("attention_probs_dropout_prob", 0.1, 0, 1);
  config.classifier_dropout = reader.number("classifier_dropout", config.hidden_dropout, 0, 1);
  config.layer_norm_epsilon = reader.number("layer_norm_eps", 1e-12, 0, 1);
  config.initializer_range = reader.number("initializer_range", 0.02, 0, 1e3);
  config.activation = reader.choice("hidden_act", "gelu", kActivations);
  const std::string positions = reader.text("position_embedding_type", "absolute");
  if (positions != "absolute") {
    throw InputError(fmt::format("{}: position_embedding_type '{}' is not supported; expected 'absolute'",
                                 reader.path().string(), positions));
  }
}

Family bert_family() {
  return {.model_type = "bert",
          .prefix = "bert.",
          .classifier_architecture = "BertForSequenceClassification",
          .modules = {.word_embeddings = "bert.embeddings.word_embeddings",
                      .position_embeddings = "bert.embeddings.position_embeddings",
                      .token_type_embeddings = "bert.embeddings.token_type_embeddings",
                      .embedding_norm = "bert.embeddings.LayerNorm",
                      .layer = "bert.encoder.layer.",
                      .layer_modules = bert_layer_modules()},
          .head = {.dense = "bert.pooler.dense",
                   .dense_module = "pooler",
                   .activation = "tanh",
                   .classifier = "classifier",
                   .dense_is_pretrained = true},
          .read_config = read_bert_config};
}

}  // namespace dtrain::model
