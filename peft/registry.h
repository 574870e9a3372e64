#pragma once

#include <memory>
#include <string>
#include <vector>

#include "peft/method_kind.h"

namespace dtrain::peft {

/// Every method there is. Adding one: its file, a line in methods/kinds.h, a line here, a line in CMakeLists.txt.
const std::vector<MethodKind>& method_kinds();

/// Throws UsageError for a name that is not known, with the nearest and the list.
const MethodKind& method_kind(const std::string& name);

/// The method with that peft_type. Throws InputError listing those that are supported.
const MethodKind& peft_method_kind(const AdapterConfig& config);

/// Throws UsageError for an unknown name or setting.
std::unique_ptr<Method> make_method(const MethodSpec& spec, std::int64_t largest_size = kLargestSize);

}  // namespace dtrain::peft
