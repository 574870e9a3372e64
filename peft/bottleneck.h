#pragma once

#include <ATen/core/Generator.h>

#include <memory>

#include "peft/bottleneck_slot.h"
#include "peft/registry.h"

namespace dtrain::peft {

/// Two adapters a layer, after the self-attention and after the feed-forward network (Houlsby et al., 2019, ICML):
/// adapter-hub's double_seq_bn.
MethodKind houlsby_kind();
/// One adapter a layer, after the feed-forward network (Pfeiffer et al., 2021, EACL): adapter-hub's seq_bn.
MethodKind pfeiffer_kind();
/// One adapter a layer, beside the feed-forward network (He et al., 2022, ICLR): adapter-hub's par_bn.
MethodKind parallel_kind();

/// Fills the slots after the sub-layers. Throws UsageError naming what does not fit the model.
void add_bottlenecks(model::Classifier& classifier, const BottleneckConfig& config, at::Generator& generator);

/// A method of such adapters and no more.
std::unique_ptr<Method> make_bottleneck_method(const BottleneckConfig& config);

/// The method that one of adapter-hub's bottleneck configurations describes.
MethodSpec read_bottleneck_method(const AdapterConfig& config);

}  // namespace dtrain::peft
