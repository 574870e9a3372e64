#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/classifier.h"
#include "peft/attach_context.h"
#include "peft/training_hooks.h"

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

/// Parameters with the names that they have in a file.
using NamedParameters = std::vector<std::pair<std::string, model::Parameter*>>;
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Whose layout of files an adapter is saved in.
enum class AdapterFormat {
  /// The Hugging Face model's own names in a safetensors file; for methods that nobody else has.
  plain,
  /// Hugging Face PEFT's.
  peft,
  /// adapter-hub's (peft/formats/adapter_hub.h).
  adapter_hub,
};

/// A way to fine-tune: which parts of a model train, and what is added to it.
///
/// A method fills slots and marks what trains; the model never asks which method it is. The head trains with every
/// method and is saved with every adapter.
class Method {
 public:
  virtual ~Method() = default;

  /// Fills slots with freshly drawn tensors (the same from the same seed) and marks what trains. Throws UsageError
  /// where the settings do not fit the model, naming what it has.
  virtual void attach(model::Classifier& classifier, const AttachContext& context) const = 0;

  /// True where the whole model changes: what is saved is a Hugging Face model directory, not an adapter.
  virtual bool changes_whole_model() const { return false; }

  /// The parts of a run, in order; their shares add up to 1.
  virtual std::vector<Phase> phases(const model::Classifier& classifier) const {
    static_cast<void>(classifier);
    return {Phase{}};
  }
  /// Marks what trains from phase `phase` on, from 1; attach has done it for phase 0. What trained before goes on to.
  virtual void enter_phase(model::Classifier& classifier, int phase) const {
    static_cast<void>(classifier);
    static_cast<void>(phase);
  }
  /// What the method does in a run of `steps` steps over a model that it is attached to; null: nothing.
  virtual std::unique_ptr<TrainingHooks> start_training_hooks(model::Classifier& classifier, std::int64_t steps) const {
    static_cast<void>(classifier);
    static_cast<void>(steps);
    return nullptr;
  }

  /// How many positions it takes from the tokens of an example.
  virtual std::int64_t virtual_tokens() const { return 0; }

  /// Of an adapter for that model.
  virtual AdapterFormat format(const model::Classifier& classifier) const {
    static_cast<void>(classifier);
    return AdapterFormat::plain;
  }
  /// Of that format: the content of adapter_config.json.
  virtual nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const {
    static_cast<void>(classifier);
    static_cast<void>(base_model);
    return nullptr;
  }
  /// What an adapter file holds, by its names there, in a model that the method is attached to. Here: what trains.
  virtual NamedParameters file_parameters(model::Classifier& classifier) const;
  /// The tensors to save; here: the values of file_parameters.
  virtual NamedTensors saved_tensors(model::Classifier& classifier) const;

  /// Why a merge would not compute the same function; unset: it does.
  virtual std::optional<std::string> cannot_merge() const { return std::nullopt; }
  /// Folds what was added into the model's own weights and empties the slots, so that the plain model computes the same
  /// function. Methods that add nothing have nothing to do.
  virtual void merge(model::Classifier& classifier) const { static_cast<void>(classifier); }
};

/// What trains in a model, under the Hugging Face model's names.
NamedParameters trained_parameters(model::Classifier& classifier);

/// The same under PEFT's names, for methods that wrap modules: they begin with "base_model.model.", and the weights of
/// a linear layer that a slot wraps are in its "base_layer".
NamedParameters peft_parameters(model::Classifier& classifier);

/// Keys that PEFT's configuration has for every method; `peft_type` as there, such as "LORA".
nlohmann::json peft_config(model::Classifier& classifier, const std::string& peft_type, const std::string& base_model);

/// Marks as trainable the head, which every method trains: the classifier, and the linear layer before it where that is
/// part of the head.
void train_head(model::Classifier& classifier);

/// Marks as trainable everything from a stage of the classifier on.
void train_stages_from(model::Classifier& classifier, int stage);

/// Marks as trainable the biases that PEFT's setting `bias` names: "none", "all", or those of the linear layers in
/// `wrapped` ("lora_only" and its like).
void train_biases(model::Classifier& classifier, const std::string& bias, const std::vector<model::Linear*>& wrapped);

}  // namespace dtrain::peft
