#include <algorithm>

#include "model/families/bert.h"
#include "model/families/families.h"

namespace dtrain::model {
namespace {

void read_roberta_config(const ConfigReader& reader, EncoderConfig& config) {
  read_bert_config(reader, config);
  if (!reader.has("vocab_size")) config.vocabulary_size = 50265;
  config.padding_token = reader.index("pad_token_id", 1, std::min(config.vocabulary_size, config.max_positions));
  config.first_position = config.padding_token + 1;
}

}  // namespace

Family roberta_family() {
  return {.model_type = "roberta",
          .prefix = "roberta.",
          .classifier_architecture = "RobertaForSequenceClassification",
          .modules = {.word_embeddings = "roberta.embeddings.word_embeddings",
                      .position_embeddings = "roberta.embeddings.position_embeddings",
                      .token_type_embeddings = "roberta.embeddings.token_type_embeddings",
                      .embedding_norm = "roberta.embeddings.LayerNorm",
                      .layer = "roberta.encoder.layer.",
                      .layer_modules = bert_layer_modules()},
          .head = {.dense = "classifier.dense",
                   .dense_module = "classifier",
                   .activation = "tanh",
                   .classifier = "classifier.out_proj",
                   .dropout_before_dense = true},
          .read_config = read_roberta_config,
          .config_keys = bert_config_keys()};
}

}  // namespace dtrain::model
