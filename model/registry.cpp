#include "model/registry.h"

#include <fmt/format.h>

#include "base/error.h"
#include "model/families/families.h"

namespace dtrain::model {

const std::vector<Family>& families() {
  static const std::vector<Family> all = {bert_family(), distilbert_family(), roberta_family()};
  return all;
}

const Family& family(const std::string& model_type) {
  for (const Family& known : families()) {
    if (known.model_type == model_type) return known;
  }
  throw InputError(fmt::format("model_type '{}' is not supported", model_type));
}

std::vector<std::string> supported_model_types() {
  std::vector<std::string> types;
  for (const Family& known : families()) types.push_back(known.model_type);
  return types;
}

}  // namespace dtrain::model
