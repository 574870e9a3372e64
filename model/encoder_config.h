#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/problem_type.h"
#include "model/pooling.h"

namespace dtrain::model {

/// The shape of a pretrained encoder, from a Hugging Face config.json.
struct EncoderConfig {
  std::string model_type;  // "bert", "roberta", ...
  std::int64_t hidden_size = 768;
  std::int64_t layers = 12;
  std::int64_t heads = 12;
  std::int64_t intermediate_size = 3072;
  std::int64_t vocabulary_size = 30522;
  std::int64_t max_positions = 512;
  /// The token that fills up rows. Its embedding does not train, should a text hold it; -1: there is none.
  std::int64_t padding_token = 0;
  /// Of the first token: RoBERTa counts on from its padding token's id, and leaves out padding tokens, which have that
  /// position themselves.
  std::int64_t first_position = 0;
  std::int64_t token_types = 2;  // 0: the family has none
  double hidden_dropout = 0.1;
  /// After the self-attention's output linear layer; DistilBERT has none there.
  double attention_output_dropout = 0.1;
  double attention_dropout = 0.1;
  double classifier_dropout = 0.1;
  double layer_norm_epsilon = 1e-12;
  double initializer_range = 0.02;
  std::string activation = "gelu";
  /// How this model pools where the user does not choose: sentence-transformers' 1_Pooling/config.json, what dtrain
  /// wrote at an export, else the architecture's own.
  Pooling pooling = Pooling::pooler;
  /// Why what the directory says of its pooling cannot be computed, and the user has to choose; empty: it can.
  std::string unsupported_pooling;
  /// The most tokens of an example.
  std::int64_t max_tokens() const { return max_positions - first_position; }
  /// The class names of a classifier checkpoint (id2label, or LABEL_0 and so on of num_labels); empty for a bare
  /// encoder and where the head is another's.
  std::vector<std::string> labels;
  /// What a classifier checkpoint's outputs are, where config.json says it (`problem_type`).
  std::optional<ProblemType> problem_type;
  /// config.json's architecture where its head is for another task (BertForTokenClassification); else empty.
  std::string other_head;
  /// What a person should know of the directory's files: keys that nothing is known of, modules that are left out.
  std::vector<std::string> notes;
  /// The whole file, for keys that dtrain keeps without reading.
  nlohmann::json json;
};

/// What Encoder can compute.
inline const std::vector<std::string> kActivations = {"gelu", "gelu_new", "relu"};

/// Reads config.json of a model directory, and what sentence-transformers has beside it. Throws InputError naming the
/// file and the key: what was expected and found; an architecture that is not supported is refused with the list of
/// those that are. docs/model-files.md lists what the files may hold.
EncoderConfig read_encoder_config(const std::filesystem::path& model_directory);

}  // namespace dtrain::model
