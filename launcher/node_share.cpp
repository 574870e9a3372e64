#include "launcher/node_share.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/image.h"
#include "dist/first_rank.h"
#include "dist/node_bytes.h"
#include "launcher/session/agreement.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// `read` on one rank of each node; what it then describes is taken by every rank of the node, itself included, so that
// it is in memory once. On a rank that is alone on its node nothing is described or taken.
void share_on_node(dist::Communicator& control, int node, std::chrono::milliseconds patience,
                   const std::function<void()>& read, const std::function<void(ImageWriter&)>& describe,
                   const std::function<void(ImageReader&)>& take) {
  {
    const dist::TimeoutScope scope(control, control.timeout() + patience);
    dist::on_ranks(control, control.rank() == node, read);
  }
  if (control.size() == 1) return;
  const auto ranks = control.split(node);
  if (ranks->size() == 1) return;
  ImageWriter image;
  if (ranks->rank() == 0) describe(image);
  const auto shared = dist::share_bytes(*ranks, image.size(), [&](std::span<std::byte> bytes) { image.write(bytes); });
  ImageReader reader(shared.bytes, shared.keeper);
  take(reader);
}

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

std::uintmax_t file_bytes(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return 0;
  const std::uintmax_t size = fs::file_size(path, ignored);
  return ignored ? 0 : size;
}

}  // namespace

data::Task share_task(dist::Communicator& control, int node, std::chrono::milliseconds patience,
                      const std::function<data::Task()>& load) {
  data::Task task;
  share_on_node(
      control, node, patience, [&] { task = load(); }, [&](ImageWriter& image) { task.add_to(image); },
      [&](ImageReader& image) { task = data::Task::from(image); });
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
  share_on_node(
      control, node, reading_time({options.directory}), read, [&](ImageWriter& image) { weights->add_kept_to(image); },
      [&](ImageReader& image) {
        if (!weights) open();
        weights->keep_from(image);
      });
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
