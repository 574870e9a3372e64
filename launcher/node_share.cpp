#include "launcher/node_share.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/image.h"
#include "dist/node_image.h"
#include "launcher/session/agreement.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// Nodes that have disks of their own may have other weights on them.
void require_same_on_all_nodes(dist::Communicator& control, int node, const model::ModelWeights& weights,
                               const fs::path& directory) {
  const auto nodes = control.all_gather(at::tensor({node}, at::kInt));
  if (nodes.eq(node).all().item<bool>()) return;
  const auto digests = gather_texts(control, control.rank() == node ? weights.kept_digest() : "");
  for (int rank = 1; rank < control.size(); ++rank) {
    if (digests[static_cast<std::size_t>(rank)].empty() || digests[static_cast<std::size_t>(rank)] == digests[0])
      continue;
    throw InputError(
        fmt::format("{}: rank {} reads other weights there than rank 0; the model must be the same on all "
                    "nodes",
                    directory.string(), rank));
  }
}

// Whether every rank could map the files of the token cache that are named to it. Ranks of a node that are in
// containers of their own may have other folders, or none, under the same name.
bool is_without_problems(dist::Communicator& control, const std::string& problem, const Log& log) {
  if (control.size() == 1) return true;
  const auto problems = gather_texts(control, problem);
  const auto first = std::ranges::find_if(problems, [](const std::string& each) { return !each.empty(); });
  if (first == problems.end()) return true;
  log.warning(fmt::format("rank {}: {}; the rank that reads for its node has it, and sends the tokens instead",
                          first - problems.begin(), *first));
  return false;
}

std::uintmax_t file_bytes(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return 0;
  const std::uintmax_t size = fs::file_size(path, ignored);
  return ignored ? 0 : size;
}

}  // namespace

data::Task share_task(dist::Communicator& control, int node, std::chrono::milliseconds patience,
                      const std::function<data::Task()>& load, const Log& log) {
  data::Task task;
  std::string problem;
  dist::share_on_node(control, node, patience,
                      {.read = [&] { task = load(); },
                       .describe = [&](ImageWriter& image) { task.add_to(image); },
                       .take =
                           [&](ImageReader& image) {
                             try {
                               task = data::Task::from(image);
                             } catch (const InputError& error) {
                               problem = error.what();
                             }
                           }});
  if (!is_without_problems(control, problem, log)) {
    dist::share_on_node(control, node, patience,
                        {.read = [] {},
                         .describe = [&](ImageWriter& image) { task.add_to(image, data::CachedTokens::by_value); },
                         .take = [&](ImageReader& image) { task = data::Task::from(image); }});
  }
  return task;
}

std::shared_ptr<const model::ModelWeights> share_weights(dist::Communicator& control, int node,
                                                         model::LoadOptions options) {
  std::shared_ptr<model::ModelWeights> weights;
  const auto open = [&] {
    weights = std::make_shared<model::ModelWeights>(options.directory);
    weights->keep_tensors();
  };
  const auto read = [&] {
    open();
    options.weights = weights;
    options.device = at::Device("cpu");
    model::load_classifier(options);
    options.weights = nullptr;
  };
  dist::share_on_node(control, node, reading_time({options.directory}),
                      {.read = read,
                       .describe = [&](ImageWriter& image) { weights->add_kept_to(image); },
                       .take =
                           [&](ImageReader& image) {
                             if (!weights) open();
                             weights->keep_from(image);
                           }});
  require_same_on_all_nodes(control, node, *weights, options.directory);
  return weights;
}

std::chrono::milliseconds reading_time(const std::vector<fs::path>& paths) {
  std::uintmax_t bytes = 0;
  for (const fs::path& path : paths) {
    bytes += file_bytes(path);
    std::error_code ignored;
    for (fs::directory_iterator entry(path, ignored), end; !ignored && entry != end; entry.increment(ignored))
      bytes += file_bytes(entry->path());
  }
  return std::chrono::seconds(bytes >> 20);
}

}  // namespace dtrain::launcher
