#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/table.h"
#include "data/label_map.h"
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
    auto document = nlohmann::json::parse(read_file(directory / name), nullptr, false);
    if (document.is_discarded()) throw InputError(fmt::format("{}: not valid JSON", (directory / name).string()));
    if (name == std::string("results.json") && document.contains("metrics")) {
      for (auto& [set, metrics] : document["metrics"].items()) {
        metrics.erase("classes");
        metrics.erase("confusion");
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

void inspect_data(const fs::path& path, const Options& options, const Log& log) {
  const auto texts =
      data::read_labelled_texts(path, {options.text_column, options.pair_column, options.label_column, false});
  for (const auto& note : texts.notes) log.warning(note);
  log.line(fmt::format("{}: {} rows, {}, {}", path.string(), count_text(static_cast<long long>(texts.rows.size())),
                       texts.has_pairs ? "text pairs" : "single texts",
                       texts.has_labels ? "labelled" : "without labels"));
  if (!texts.has_labels) return;
  std::map<std::string, std::int64_t> counts;
  for (const auto& row : texts.rows) ++counts[row.label];
  Table table{{"label", "rows", "share"}, {}};
  for (const auto& [label, count] : counts) {
    table.rows.push_back(
        {label, count_text(count),
         fmt::format("{:.2f} %", 100.0 * static_cast<double>(count) / static_cast<double>(texts.rows.size()))});
  }
  log.line(terminal_table(table));
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
