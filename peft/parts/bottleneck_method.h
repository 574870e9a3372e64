#pragma once

#include <ATen/core/Generator.h>

#include <memory>

#include "peft/method_kind.h"
#include "peft/parts/bottleneck_slot.h"

namespace dtrain::peft {

/// Fills the slots after the sub-layers. Throws UsageError naming what does not fit the model.
void add_bottlenecks(model::Classifier& classifier, const BottleneckConfig& config, at::Generator& generator);

/// A method of such adapters and no more.
std::unique_ptr<Method> make_bottleneck_method(const BottleneckConfig& config);

/// The method that one of adapter-hub's bottleneck configurations describes.
MethodSpec read_bottleneck_method(const AdapterConfig& config);

}  // namespace dtrain::peft
