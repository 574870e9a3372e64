#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/encoder.h"
#include "model/encoder_config.h"

namespace dtrain::model {

/// A model family: what dtrain must know to build, load and save one.
struct Family {
  /// config.json's model_type.
  std::string model_type;
  /// The prefix of the encoder's tensors in a classification checkpoint, absent in a bare encoder's.
  std::string prefix;
  /// config.json's architectures of what dtrain saves.
  std::string classifier_architecture;
  std::unique_ptr<Encoder> (*make_encoder)(const EncoderConfig&);
};

/// Every family there is. Adding one: its file pair, a line here, a line in CMakeLists.txt.
const std::vector<Family>& families();

/// The family of a model type that read_encoder_config has accepted.
const Family& family(const std::string& model_type);

std::vector<std::string> supported_model_types();

}  // namespace dtrain::model
