#pragma once

#include <map>
#include <string>

namespace dtrain::peft {

/// A method as it comes, or, where its defaults are for larger models than those of the tests, with others.
inline std::string small_spec(const std::string& method) {
  static const std::map<std::string, std::string> specs = {
      {"compacter", "compacter:reduction_factor=2"},
      // Of a small linear layer each coefficient changes every weight by much.
      {"fourierft", "fourierft:scaling=15"},
      // 32 does not divide the inputs of every model.
      {"oft", "oft:nearest_divisor=true"},
      // Thirty keys beside those of a dozen tokens leave these little weight.
      {"mam", "mam:prefix_length=3:bottleneck_size=32"},
      {"unipelt", "unipelt:prefix_length=3:bottleneck_size=32"}};
  const auto found = specs.find(method);
  return found != specs.end() ? found->second : method;
}

}  // namespace dtrain::peft
