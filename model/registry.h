#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/file_keys.h"
#include "model/encoder.h"
#include "model/encoder_config.h"
#include "model/formats/config_reader.h"

namespace dtrain::model {

/// What stands between the pooled vector and the logits in a family's ...ForSequenceClassification: a linear layer with
/// its activation (BERT's pooler, RoBERTa's classifier.dense, DistilBERT's pre_classifier), then the linear layer to
/// the classes.
struct HeadModules {
  std::string dense;
  /// The module that PEFT's modules_to_save names for `dense`.
  std::string dense_module;
  /// "tanh" or "relu".
  std::string activation;
  std::string classifier;
  /// `dense` is pretrained, and only Pooling::pooler uses it; else it is part of the head, whatever the pooling.
  bool dense_is_pretrained = false;
  bool dropout_before_dense = false;
};

/// A model family: what dtrain must know to build, load and save one.
struct Family {
  /// config.json's model_type.
  std::string model_type;
  /// The prefix of the encoder's tensors in a classification checkpoint, absent in a bare encoder's.
  std::string prefix;
  /// config.json's architectures of what dtrain saves.
  std::string classifier_architecture;
  EncoderModules modules;
  HeadModules head;
  /// The sizes, rates and names that config.json holds under this family's keys.
  void (*read_config)(const ConfigReader& reader, EncoderConfig& config);
  /// Those keys, and the others of this family's config.json (kCommonConfigKeys has those of every family).
  std::span<const FileKey> config_keys;
};

/// Every family there is. Adding one: its file pair, a line here, a line in CMakeLists.txt.
const std::vector<Family>& families();

/// The family of a model type that read_encoder_config has accepted.
const Family& family(const std::string& model_type);

std::vector<std::string> supported_model_types();

}  // namespace dtrain::model
