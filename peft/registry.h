#pragma once

#include <memory>
#include <string>
#include <vector>

#include "peft/method.h"
#include "peft/settings.h"

namespace dtrain::peft {

/// A kind of method, as `dtrain --help` and the study see it.
struct MethodKind {
  std::string name;
  /// One line: what trains.
  std::string summary;
  /// Authors, year and where it was published; empty for the oldest practice.
  std::string paper;
  /// The grid that a comparison searches; the middle one is the default.
  std::vector<double> learning_rates;
  std::vector<Setting> settings;
  std::unique_ptr<Method> (*make)(const Settings&);
};

/// Every method there is. Adding one: its file pair, a line here, a line in CMakeLists.txt.
const std::vector<MethodKind>& method_kinds();

/// Throws UsageError for a name that is not known, with the nearest and the list.
const MethodKind& method_kind(const std::string& name);

/// Throws UsageError for an unknown name or setting.
std::unique_ptr<Method> make_method(const MethodSpec& spec);

}  // namespace dtrain::peft
