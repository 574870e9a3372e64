#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "model/classifier.h"
#include "model/formats/safetensors.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {

/// An adapter that a Python package has written for the tests, under a pooling that it has numbers for.
struct ReferenceAdapter {
  std::string name;
  model::Pooling pooling;
};

/// All of a folder of the reference directory; none where the script has not run, which each suite's own test refuses.
inline std::vector<ReferenceAdapter> reference_adapters(const std::string& folder) {
  std::vector<ReferenceAdapter> all;
  const auto directory = model::reference_directory() / folder;
  if (!std::filesystem::exists(directory)) return all;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const model::SafetensorsFile reference(entry.path() / "reference.safetensors");
    for (const auto pooling : {model::Pooling::pooler, model::Pooling::cls, model::Pooling::mean}) {
      if (reference.contains(model::pooling_name(pooling) + ".loss")) {
        all.push_back({entry.path().filename().string(), pooling});
      }
    }
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return all;
}

inline std::string adapter_name(const ReferenceAdapter& adapter) {
  return adapter.name + "_" + model::pooling_name(adapter.pooling);
}

inline void to_double(model::Classifier& classifier) {
  for (model::Parameter* parameter : classifier.parameters()) parameter->set_value(parameter->value().to(at::kDouble));
}

}  // namespace dtrain::peft
