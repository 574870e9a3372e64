#include <array>

#include "model/families/bert.h"
#include "model/families/families.h"

namespace dtrain::model {
namespace {

void read_distilbert_config(const ConfigReader& reader, EncoderConfig& config) {
  // transformers takes BERT's names of three keys, too, and over its own.
  const auto either = [&](const char* of_bert, const char* own) { return reader.has(of_bert) ? of_bert : own; };
  const char* width = either("hidden_size", "dim");
  const char* heads = either("num_attention_heads", "n_heads");
  config.hidden_size = reader.size(width, 768, kWidest);
  config.layers = reader.size(either("num_hidden_layers", "n_layers"), 6, kMostLayers);
  config.heads = reader.size(heads, 12, kWidest);
  require_whole_heads(reader, config, width, heads);
  config.intermediate_size = reader.size("hidden_dim", 3072, kWidest);
  config.vocabulary_size = reader.size("vocab_size", 30522, kMostTokens);
  config.max_positions = reader.size("max_position_embeddings", 512, kMostTokens);
  config.padding_token = reader.index("pad_token_id", 0, config.vocabulary_size, -1);
  config.token_types = 0;
  config.hidden_dropout = reader.number("dropout", 0.1, 0, 1);
  config.attention_output_dropout = 0;
  config.attention_dropout = reader.number("attention_dropout", 0.1, 0, 1);
  config.classifier_dropout = reader.number("seq_classif_dropout", 0.2, 0, 1);
  config.layer_norm_epsilon = 1e-12;
  config.initializer_range = reader.number("initializer_range", 0.02, 0, 1e3);
  config.activation = reader.choice("activation", "gelu", kActivations);
}

std::span<const FileKey> config_keys() {
  constexpr KeyUse heeded = KeyUse::heeded;
  constexpr KeyUse no_effect = KeyUse::no_effect;
  static constexpr std::array kKeys = {
      FileKey{"dim", heeded, "the shape of every layer"},
      FileKey{"hidden_size", heeded, "the same, where it is there"},
      FileKey{"n_layers", heeded, "the layers"},
      FileKey{"num_hidden_layers", heeded, "the same, where it is there"},
      FileKey{"n_heads", heeded, "the heads of the self-attention"},
      FileKey{"num_attention_heads", heeded, "the same, where it is there"},
      FileKey{"hidden_dim", heeded, "the shape of the feed-forward part"},
      FileKey{"activation", heeded, "the activation function: gelu, gelu_new or relu; another is refused"},
      FileKey{"dropout", heeded, "dropout in training"},
      FileKey{"attention_dropout", heeded, "dropout in training"},
      FileKey{"seq_classif_dropout", heeded, "dropout before the head in training"},
      FileKey{"qa_dropout", no_effect, "for question answering"},
      FileKey{"sinusoidal_pos_embds", no_effect, "how positions began; the file has them"},
      FileKey{"tie_weights_", no_effect, "for language modelling"},
      FileKey{"is_decoder", KeyUse::refused, "a causal mask", "[false]"},
      FileKey{"add_cross_attention", KeyUse::refused, "a decoder's layers", "[false]"},
  };
  return kKeys;
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
          .read_config = read_distilbert_config,
          .config_keys = config_keys()};
}

}  // namespace dtrain::model
