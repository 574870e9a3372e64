#include "launcher/trained_models.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <optional>
#include <set>
#include <sstream>

#include "base/atomic_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/listing.h"
#include "data/label_map.h"
#include "data/readers/labelled_text.h"
#include "launcher/loading.h"
#include "launcher/node_share.h"
#include "launcher/session/agreement.h"
#include "peft/registry.h"

namespace dtrain::launcher {

namespace fs = std::filesystem;

namespace {

std::optional<fs::path> given_base(const Options& options) {
  return options.model.empty() ? std::nullopt : std::optional<fs::path>(options.model);
}

// Nodes that have disks of their own may have other adapters on them. The weights of whole models were compared when
// they were read.
void require_same_adapter(dist::Communicator& control, const peft::TrainedModel& trained, const fs::path& directory) {
  const auto method = peft::make_method(trained.method);
  if (control.size() == 1 || method->changes_whole_model()) return;
  Digest digest;
  digest.add(trained.method.text());
  for (const auto& [name, parameter] : method->file_parameters(*trained.classifier)) {
    const auto values = parameter->value().detach().cpu().contiguous();
    digest.add(name);
    digest.add(values.const_data_ptr(), values.nbytes());
  }
  const auto digests = gather_texts(control, digest.text());
  for (std::size_t rank = 1; rank < digests.size(); ++rank) {
    if (digests[rank] == digests[0]) continue;
    throw InputError(
        fmt::format("{}: rank {} reads another adapter there than rank 0; it must be the same on all nodes",
                    directory.string(), rank));
  }
}

}  // namespace

std::vector<std::string> label_names(const Options& options) {
  std::vector<std::string> names;
  if (options.labels.empty()) return names;
  if (fs::is_regular_file(options.labels)) {
    std::istringstream lines(read_file(options.labels));
    for (std::string line; std::getline(lines, line);) {
      if (line.ends_with('\r')) line.pop_back();
      names.push_back(line);
    }
  } else {
    names = split_list(options.labels);
  }
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (name.empty())
      throw UsageError("--labels: expected names joined by commas, or a file with one a line; found an empty one");
    if (!seen.insert(name).second) throw UsageError(fmt::format("--labels: '{}' is given twice", name));
  }
  return names;
}

peft::TrainedModel load_trained(const Options& options, const Session& session, const fs::path& directory,
                                at::Device device) {
  return peft::load_trained(directory, given_base(options), pooling_option(options), device, session.log(),
                            label_names(options), problem_type_option(options));
}

peft::TrainedModel share_trained(const Options& options, const Session& session, const std::optional<fs::path>& base) {
  const auto read_weights = [&](const model::LoadOptions& load) {
    return share_weights(session.control(), session.lowest_local_rank(), load);
  };
  auto trained = peft::load_trained(options.run, base, pooling_option(options), session.context().device, session.log(),
                                    label_names(options), problem_type_option(options), read_weights);
  require_same_adapter(session.control(), trained, options.run);
  return trained;
}

peft::TrainedModel share_trained(const Options& options, const Session& session) {
  return share_trained(options, session, given_base(options));
}

void take_labels_of_input(const Options& options, const Session& session, peft::TrainedModel& trained) {
  if (trained.labels_have_names || options.input.empty()) return;
  if (trained.classifier->problem_type != ProblemType::single_label_classification) return;
  const auto texts =
      data::read_labelled_texts(options.input, {options.text_column, options.pair_column, options.label_column, false});
  if (!texts.has_labels || texts.has_label_lists) return;
  const auto names = data::LabelMap::from_rows(texts.rows).names();
  if (names.size() != trained.labels.size() || names == trained.labels) return;
  session.log().warning(
      fmt::format("{}: its labels are taken for the names of the classes, in this order: {} (--labels gives others)",
                  options.input, capped_list(names)));
  trained.labels = names;
  trained.labels_have_names = true;
}

}  // namespace dtrain::launcher
