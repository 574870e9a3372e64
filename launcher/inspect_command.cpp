#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/json_file.h"
#include "base/listing.h"
#include "base/table.h"
#include "data/label_map.h"
#include "data/readers/label_column.h"
#include "data/readers/labelled_text.h"
#include "launcher/commands.h"
#include "model/formats/safetensors.h"
#include "model/formats/torch_file.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

void inspect_tensors(const fs::path& path, const Log& log) {
  Table table{{"tensor", "type", "shape", "elements"}, {}};
  std::int64_t total = 0;
  const auto add = [&](const std::string& name, at::ScalarType type, const auto& shape) {
    std::int64_t elements = 1;
    for (const std::int64_t size : shape) elements *= size;
    total += elements;
    table.rows.push_back(
        {name, c10::toString(type), fmt::format("[{}]", fmt::join(shape, ", ")), count_text(elements)});
  };
  if (path.extension() == ".bin") {
    for (const auto& [name, tensor] : model::read_torch_file(path)) add(name, tensor.scalar_type(), tensor.sizes());
  } else {
    const model::SafetensorsFile file(path);
    for (const auto& name : file.names()) add(name, file.type(name), file.shape(name));
  }
  log.line(fmt::format("{}: {} tensors, {} elements", path.string(), table.rows.size(), count_text(total)));
  log.line(terminal_table(table));
}

void inspect_directory(const fs::path& directory, const Log& log) {
  bool known = false;
  for (const char* name : {"adapter_config.json", "dtrain.json", "config.json", "results.json", "state.json"}) {
    if (!fs::exists(directory / name)) continue;
    known = true;
    auto document = read_json_object(directory / name);
    if (name == std::string("results.json") && document.contains("metrics")) {
      for (auto& [set, metrics] : document["metrics"].items()) {
        if (!metrics.is_object()) continue;
        for (const char* long_one : {"classes", "confusion", "confusion_pairs"}) metrics.erase(long_one);
      }
    }
    log.line(fmt::format("{}:\n{}\n", (directory / name).string(), document.dump(2)));
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    const bool inner =
        fs::is_directory(path) && (path.filename() == "model" || path.filename() == "adapter" ||
                                   path.filename().string().starts_with("step-") || path.filename() == "checkpoint");
    // Of trainers there are other files with that ending.
    const std::string name = path.filename().string();
    const bool tensors = path.extension() == ".safetensors" || name == "adapter_model.bin" ||
                         (name.starts_with("pytorch_") && name.ends_with(".bin"));
    if (tensors) inspect_tensors(path, log);
    if (inner) inspect_directory(path, log);
    known = known || inner || tensors;
  }
  if (!known)
    throw InputError(fmt::format("{}: expected a model, an adapter, a run's output or a checkpoint, found none",
                                 directory.string()));
}

// The first rows as a model would get them.
std::string first_rows(const data::LabelledTexts& texts) {
  constexpr std::size_t kRows = 3;
  Table table{{"line"}, {}};
  if (texts.has_labels) table.header.emplace_back(texts.has_label_lists ? "labels" : "label");
  table.header.emplace_back("text");
  if (texts.has_pairs) table.header.emplace_back("pair");
  for (std::size_t i = 0; i < std::min(kRows, texts.rows.size()); ++i) {
    const data::LabelledText& row = texts.rows[i];
    table.rows.push_back({std::to_string(row.line)});
    auto& cells = table.rows.back();
    if (texts.has_labels) cells.push_back(texts.has_label_lists ? capped_list(row.labels) : shown_text(row.label));
    cells.push_back(shown_text(row.text));
    if (texts.has_pairs) cells.push_back(shown_text(row.pair));
  }
  return terminal_table(table);
}

// The labels and how many rows have each, in the order of their ids.
std::string label_counts(const data::LabelledTexts& texts) {
  constexpr std::size_t kShown = 50;
  const auto labels = data::LabelMap::from_rows(texts.rows);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(labels.size()), 0);
  std::int64_t without = 0;
  for (const auto& row : texts.rows) {
    if (!texts.has_label_lists) ++counts[static_cast<std::size_t>(labels.id_of(row.label))];
    std::set<std::int64_t> ids;  // a row may name a label twice
    for (const auto& label : row.labels) ids.insert(labels.id_of(label));
    for (const std::int64_t id : ids) ++counts[static_cast<std::size_t>(id)];
    if (texts.has_label_lists && row.labels.empty()) ++without;
  }
  const auto rows = static_cast<double>(texts.rows.size());
  Table table{{"label", "rows", "share"}, {}};
  const auto add = [&](const std::string& label, std::int64_t count) {
    table.rows.push_back(
        {label, count_text(count), fmt::format("{:.2f} %", 100.0 * static_cast<double>(count) / rows)});
  };
  for (std::size_t id = 0; id < std::min(kShown, counts.size()); ++id) {
    if (texts.has_label_lists && counts[id] == 0) continue;  // where every list is empty
    add(labels.names()[id].empty() ? "(empty)" : shown_text(labels.names()[id]), counts[id]);
  }
  if (texts.has_label_lists) add("(none of them)", without);
  std::string text = terminal_table(table);
  if (counts.size() > kShown)
    text += fmt::format("and {} more labels\n", count_text(static_cast<long long>(counts.size() - kShown)));
  return text;
}

void inspect_data(const fs::path& path, const Options& options, const Log& log) {
  const auto texts = data::read_labelled_texts(path, columns_of(options, false));
  for (const auto& note : texts.notes) log.warning(note);
  try {
    data::check_label_column(texts, path.string());
  } catch (const InputError& doubt) {
    log.warning(doubt.what());
  }
  log.line(fmt::format("{}: {} rows, {}, {}, {}", path.string(), count_text(static_cast<long long>(texts.rows.size())),
                       texts.has_pairs ? "text pairs" : "single texts",
                       texts.has_label_lists ? "lists of labels"
                       : texts.has_labels    ? "labelled"
                                             : "without labels",
                       texts.format));
  log.line(fmt::format("columns: {}\n", texts.columns));
  log.line(first_rows(texts));
  if (texts.has_labels) log.line(label_counts(texts));
}

}  // namespace

void run_inspect(const Options& options, const Session& session) {
  if (options.targets.empty()) throw UsageError("inspect: expected a model, an adapter, a run's output or a data file");
  for (const fs::path target : options.targets) {
    if (!fs::exists(target)) throw InputError(fmt::format("{}: there is no such file or directory", target.string()));
    if (fs::is_directory(target)) {
      inspect_directory(target, session.log());
    } else if (target.extension() == ".safetensors" || target.extension() == ".bin") {
      inspect_tensors(target, session.log());
    } else {
      inspect_data(target, options, session.log());
    }
  }
}

}  // namespace dtrain::launcher
