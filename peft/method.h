#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "model/classifier.h"

namespace dtrain::peft {

/// A method and its settings as the user names them: "lora:r=16:target_modules=query+value".
struct MethodSpec {
  std::string name;
  std::map<std::string, std::string> settings;

  /// The text again, settings sorted.
  std::string text() const;
};

/// Throws UsageError naming the part that is not NAME or KEY=VALUE.
MethodSpec parse_method_spec(const std::string& text);

/// A way to fine-tune: which parts of a model train, and what is added to it.
///
/// A method fills slots and marks what trains; the model never asks which method it is. The classifier trains with
/// every method and is saved with every adapter.
class Method {
 public:
  virtual ~Method() = default;

  /// Fills slots with freshly drawn tensors (the same from the same seed) and marks what trains. Throws UsageError
  /// where the settings do not fit the model, naming what it has.
  virtual void attach(model::Classifier& classifier, std::uint64_t seed) const = 0;

  /// True where the whole model changes: what is saved is a Hugging Face model directory, not an adapter.
  virtual bool changes_whole_model() const { return false; }

  /// The content of adapter_config.json as PEFT writes it for this method on that model; null where PEFT has no such
  /// method.
  virtual nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const {
    static_cast<void>(classifier);
    static_cast<void>(base_model);
    return nullptr;
  }

  /// Folds what was added into the model's own weights and empties the slots, so that the plain model computes the same
  /// function. Methods that add nothing have nothing to do.
  virtual void merge(model::Classifier& classifier) const { static_cast<void>(classifier); }
};

/// What trains in a model, each under the name it has in a file: the Hugging Face model's, or PEFT's, which begins with
/// "base_model.model." and calls the bias of a map that a slot wraps "base_layer.bias".
std::vector<std::pair<std::string, model::Parameter*>> trained_parameters(model::Classifier& classifier,
                                                                          bool peft_names);

/// Marks as trainable the head, which every method trains: the classifier, and a pooler that was drawn anew.
void train_classifier(model::Classifier& classifier);

}  // namespace dtrain::peft
