#include "model/families/bert.h"

#include <fmt/format.h>

#include <array>

#include "base/error.h"
#include "model/families/families.h"

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

void require_whole_heads(const ConfigReader& reader, const EncoderConfig& config, const char* width_key,
                         const char* heads_key) {
  if (config.hidden_size % config.heads == 0) return;
  throw InputError(fmt::format("{}: {} {} is not a multiple of {} {}", reader.path().string(), width_key,
                               config.hidden_size, heads_key, config.heads));
}

void read_bert_config(const ConfigReader& reader, EncoderConfig& config) {
  config.hidden_size = reader.size("hidden_size", 768, kWidest);
  config.layers = reader.size("num_hidden_layers", 12, kMostLayers);
  config.heads = reader.size("num_attention_heads", 12, kWidest);
  require_whole_heads(reader, config, "hidden_size", "num_attention_heads");
  config.intermediate_size = reader.size("intermediate_size", 3072, kWidest);
  config.vocabulary_size = reader.size("vocab_size", 30522, kMostTokens);
  config.max_positions = reader.size("max_position_embeddings", 512, kMostTokens);
  config.padding_token = reader.index("pad_token_id", 0, config.vocabulary_size, -1);
  config.token_types = reader.size("type_vocab_size", 2, kMostTokens);
  config.hidden_dropout = reader.number("hidden_dropout_prob", 0.1, 0, 1);
  config.attention_output_dropout = config.hidden_dropout;
  config.attention_dropout = reader.number("attention_probs_dropout_prob", 0.1, 0, 1);
  config.classifier_dropout = reader.number("classifier_dropout", config.hidden_dropout, 0, 1);
  config.layer_norm_epsilon = reader.number("layer_norm_eps", 1e-12, 0, 1);
  config.initializer_range = reader.number("initializer_range", 0.02, 0, 1e3);
  config.activation = reader.choice("hidden_act", "gelu", kActivations);
}

std::span<const FileKey> bert_config_keys() {
  constexpr KeyUse heeded = KeyUse::heeded;
  static constexpr std::array kKeys = {
      FileKey{"hidden_size", heeded, "the shape of every layer"},
      FileKey{"num_hidden_layers", heeded, "the layers"},
      FileKey{"num_attention_heads", heeded, "the heads of the self-attention"},
      FileKey{"intermediate_size", heeded, "the shape of the feed-forward part"},
      FileKey{"type_vocab_size", heeded, "the shape of the token types"},
      FileKey{"hidden_act", heeded, "the activation function: gelu, gelu_new or relu; another is refused"},
      FileKey{"hidden_dropout_prob", heeded, "dropout in training"},
      FileKey{"attention_probs_dropout_prob", heeded, "dropout in training"},
      FileKey{"classifier_dropout", heeded, "dropout before the head in training; hidden_dropout_prob where null"},
      FileKey{"layer_norm_eps", heeded, "the norms' epsilon"},
      FileKey{"position_embedding_type", KeyUse::refused, "relative positions", R"(["absolute"])"},
      FileKey{"is_decoder", KeyUse::refused, "a causal mask", "[false]"},
      FileKey{"add_cross_attention", KeyUse::refused, "a decoder's layers", "[false]"},
  };
  return kKeys;
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
          .read_config = read_bert_config,
          .config_keys = bert_config_keys()};
}

}  // namespace dtrain::model
