#include "peft/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/nearest_name.h"
#include "peft/methods/kinds.h"

namespace dtrain::peft {

const std::vector<MethodKind>& method_kinds() {
  static const std::vector<MethodKind> kinds = {
      // Freezing.
      full_kind(), head_kind(), layers_kind(), bitfit_kind(), norm_kind(), lp_ft_kind(), gradual_kind(),
      // Reparametrization.
      lora_kind(), adalora_kind(), vera_kind(), loha_kind(), lokr_kind(), oft_kind(), boft_kind(), hra_kind(),
      randlora_kind(), fourierft_kind(),
      // Added modules.
      houlsby_kind(), pfeiffer_kind(), parallel_kind(), compacter_kind(), ia3_kind(), prefix_kind(), prompt_kind(),
      p_tuning_kind(),
      // Compositions.
      mam_kind(), unipelt_kind()};
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

const MethodKind& peft_method_kind(const AdapterConfig& config) {
  const auto type = config.value<std::string>("peft_type", "");
  std::vector<std::string> types;
  for (const MethodKind& kind : method_kinds()) {
    if (kind.peft_type.empty()) continue;
    if (kind.peft_type == type) return kind;
    types.push_back(kind.peft_type);
  }
  throw InputError(fmt::format("{}: peft_type '{}' is not supported; expected one of {}", config.path().string(), type,
                               fmt::join(types, ", ")));
}

std::unique_ptr<Method> make_method(const MethodSpec& spec, std::int64_t largest_size) {
  const MethodKind& kind = method_kind(spec.name);
  return kind.make(MethodSettings(kind.name, kind.settings, spec.settings, largest_size));
}

}  // namespace dtrain::peft
