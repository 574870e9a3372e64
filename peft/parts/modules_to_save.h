#pragma once

#include <string>
#include <vector>

#include "peft/adapter_config.h"
#include "peft/method.h"
#include "peft/method_settings.h"

namespace dtrain::peft {

/// PEFT's modules_to_save: modules that train as a whole besides the head, by the ends of their paths, such as
/// "pooler".
MethodSetting modules_to_save_setting();

/// Marks as trainable all parameters of the modules whose paths end with one of `names`. Throws UsageError for one that
/// no module ends with.
void train_modules(model::Classifier& classifier, const std::vector<std::string>& names, const std::string& method);

/// What PEFT's configuration has under that key besides the head, each once.
std::vector<std::string> read_modules_to_save(const AdapterConfig& config, const model::Classifier& classifier);

/// The same as a setting of `spec`, where there is any.
void read_modules_to_save(const AdapterConfig& config, const model::Classifier& classifier, MethodSpec& spec);

}  // namespace dtrain::peft
