#include "peft/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/nearest_name.h"
#include "peft/freezing.h"
#include "peft/lora.h"

namespace dtrain::peft {

const std::vector<MethodKind>& method_kinds() {
  static const std::vector<MethodKind> kinds = {full_kind(), head_kind(), layers_kind(), lora_kind()};
  return kinds;
}

const MethodKind& method_kind(const std::string& name) {
  std::vector<std::string> names;
  for (const MethodKind& kind : method_kinds()) {
    if (kind.name == name) return kind;
    names.push_back(kind.name);
  }
  throw UsageError(
      fmt::format("unknown method '{}'{}; there are: {}", name, did_you_mean(name, names), fmt::join(names, ", ")));
}

std::unique_ptr<Method> make_method(const MethodSpec& spec) {
  const MethodKind& kind = method_kind(spec.name);
  return kind.make(Settings(kind.name, kind.settings, spec.settings));
}

}  // namespace dtrain::peft
