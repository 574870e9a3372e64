#include "model/families/distilbert.h"

namespace dtrain::model {
namespace {

void read_config(const ConfigReader& reader, EncoderConfig& config) {
  config.hidden_size = reader.positive("dim");
  config.layers = reader.positive("n_layers");
  config.heads = reader.positive("n_heads");
  reader.require_multiple("dim", "n_heads");
  config.intermediate_size = reader.positive("hidden_dim");
  config.vocabulary_size = reader.positive("vocab_size");
  config.max_positions = reader.positive("max_position_embeddings");
  config.padding_token = reader.index("pad_token_id", 0, config.vocabulary_size);
  config.token_types = 0;
  config.hidden_dropout = reader.number("dropout", 0.1, 0, 1);
  config.attention_output_dropout = 0;
  config.attention_dropout = reader.number("attention_dropout", 0.1, 0, 1);
  config.classifier_dropout = reader.number("seq_classif_dropout", 0.2, 0, 1);
  config.layer_norm_epsilon = 1e-12;
  config.initializer_range = reader.number("initializer_range", 0.02, 0, 1e3);
  config.activation = reader.choice("activation", "gelu", kActivations);
}

}  // namespace

Family distilbert_family() {
  return {.model_type = "distilbert",
          .prefix = "distilbert.",
          .classifier_architecture = "DistilBertForSequenceClassification",
          .modules = {.word_embeddings = "distilbert.embeddings.word_embeddings",
                      .position_embeddings = "distilbert.embeddings.position_embeddings",
                      .token_type_embeddings = "",
                      .embedding_norm = "distilbert.embeddings.LayerNorm",
                      .layer = "distilbert.transformer.layer.",
                      .layer_modules = {.query = ".attention.q_lin",
                                        .key = ".attention.k_lin",
                                        .value = ".attention.v_lin",
                                        .attention_output = ".attention.out_lin",
                                        .attention_norm = ".sa_layer_norm",
                                        .intermediate = ".ffn.lin1",
                                        .output = ".ffn.lin2",
                                        .output_norm = ".output_layer_norm"}},
          .head = {.dense = "pre_classifier",
                   .dense_module = "pre_classifier",
                   .activation = "relu",
                   .classifier = "classifier"},
          .read_config = read_config};
}

}  // namespace dtrain::model
