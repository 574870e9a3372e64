#include "launcher/class_weights.h"

#include <fmt/format.h>

#include <string>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/listing.h"
#include "base/nearest_name.h"

namespace dtrain::launcher {

std::vector<double> read_class_weights(const std::filesystem::path& path, const data::LabelMap& labels) {
  const std::string file = path.string();
  const auto document = parse_json(read_file(path), file);
  if (!document.is_object()) {
    throw InputError(
        fmt::format("{}: expected a JSON object of labels and weights, such as {{\"{}\": 2.5}} (--class-weights)", file,
                    shown_text(labels.names().front())));
  }
  std::vector<double> weights;
  for (const std::string& label : labels.names()) {
    const auto found = document.find(label);
    if (found == document.end() || !found->is_number())
      throw InputError(fmt::format("{}: expected a number for '{}', found {} (--class-weights)", file,
                                   shown_text(label), found == document.end() ? "none" : shown_json(*found)));
    weights.push_back(found->get<double>());
  }
  for (const auto& [label, weight] : document.items()) {
    if (labels.id_of(label) < 0)
      throw InputError(fmt::format("{}: '{}' is no label of the training data{} (--class-weights)", file,
                                   shown_text(label), did_you_mean(label, labels.names())));
  }
  return weights;
}

}  // namespace dtrain::launcher
