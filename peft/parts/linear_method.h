#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "peft/adapter_config.h"
#include "peft/method.h"
#include "peft/method_settings.h"
#include "peft/parts/targets.h"

namespace dtrain::peft {

/// What the methods that wrap linear layers have in common in PEFT's configurations.
struct Wrapping {
  TargetModules targets;
  /// Which biases train along: "none", "all" or those of the wrapped linear layers ("lora_only" and its like). Unset:
  /// the method has no such setting.
  std::optional<std::string> bias = {};
  /// Modules that train as a whole besides the head, by the ends of their paths, such as "pooler".
  std::vector<std::string> modules_to_save;
};

/// `settings` and those that make a Wrapping. `only_bias` is what a method calls the biases of the wrapped linear
/// layers ("lora_only"); empty: it has no setting `bias`. `defaults` says what it wraps by default.
std::vector<MethodSetting> with_wrapping(std::vector<MethodSetting> settings, const std::string& only_bias,
                                         const std::string& defaults = "query and value");
Wrapping read_wrapping(const MethodSettings& settings, const std::string& only_bias);

/// The keys of PEFT's configuration that make a Wrapping, as settings of `spec`. Returns the paths of the wrapped
/// linear layers.
std::vector<std::string> read_peft_wrapping(const AdapterConfig& config, model::Classifier& classifier, bool has_bias,
                                            MethodSpec& spec);

/// The keys that read_peft_wrapping reads.
FileKeys wrapping_keys(bool has_bias);

/// The same key as a setting, where it is there: a text, a number or true and false.
void read_peft_settings(const AdapterConfig& config, const std::vector<std::string>& keys, MethodSpec& spec);

/// On a linear layer, which with it still is a linear layer: another one.
class WeightSlot : public model::LinearSlot {
 public:
  /// Makes `base` itself compute what it computes with the slot.
  virtual void merge_into(model::Linear& base) = 0;
};

/// A method that changes the weights of chosen linear layers, each by a WeightSlot, with PEFT's ways to choose them.
class LinearMethod : public Method {
 public:
  /// `name`: as in MethodKind; `peft_type`: as in PEFT's configuration; empty: PEFT does not have it.
  LinearMethod(std::string name, std::string peft_type, Wrapping wrapping)
      : name_(std::move(name)), peft_type_(std::move(peft_type)), wrapping_(std::move(wrapping)) {}

  void attach(model::Classifier& classifier, const AttachContext& context) const override;
  AdapterFormat format(const model::Classifier&) const override {
    return peft_type_.empty() ? AdapterFormat::plain : AdapterFormat::peft;
  }
  nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const override;
  void merge(model::Classifier& classifier) const override;

 protected:
  /// What target_modules=auto wraps.
  virtual std::vector<model::Linear*> default_targets(model::Classifier& classifier) const {
    return query_and_value(classifier);
  }
  /// Gives each of the linear layers its slot.
  virtual void fill(const std::vector<model::Linear*>& wrapped, at::Generator& generator) const = 0;
  /// Adds the method's own keys to PEFT's configuration.
  virtual void describe(nlohmann::json& config, const std::vector<model::Linear*>& wrapped) const = 0;

  const std::string& name() const { return name_; }
  /// The linear layers that have, or are to have, a slot.
  std::vector<model::Linear*> wrapped(model::Classifier& classifier) const;

 private:
  std::string name_;
  std::string peft_type_;
  Wrapping wrapping_;
};

/// [rows, columns] uniform within 1 / sqrt(columns), of the type and device of `like`: torch's kaiming_uniform_ with
/// a = sqrt(5), which PEFT draws most matrices with.
at::Tensor draw_uniform(std::int64_t rows, std::int64_t columns, const at::Tensor& like, at::Generator& generator);

}  // namespace dtrain::peft
