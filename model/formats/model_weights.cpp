#include "model/formats/model_weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <set>

#include "base/digest.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/listing.h"
#include "base/named_file.h"
#include "base/nearest_name.h"
#include "model/formats/torch_file.h"

namespace dtrain::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The files that an index names, which lie beside it.
std::set<fs::path> shards(const fs::path& index) {
  const json document = read_json_object(index);
  const auto map = document.find("weight_map");
  if (map == document.end() || !map->is_object())
    throw InputError(fmt::format("{}: expected a JSON object with a 'weight_map'", index.string()));
  std::set<std::string> names;
  std::set<fs::path> files;
  for (const auto& [tensor, file] : map->items()) {
    const std::string place = fmt::format("{}: weight_map: tensor '{}'", index.string(), shown_text(tensor));
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name.find('/') != name.npos)
      throw InputError(
          fmt::format("{}: expected the name of a file beside this one, found {}", place, shown_json(file)));
    if (names.insert(name).second) files.insert(named_file(index.parent_path(), name, place));
  }
  return files;
}

struct Found {
  std::set<fs::path> files;
  bool are_pickled;
};

Found found_in(const fs::path& directory) {
  for (const std::string name : {"model.safetensors", "pytorch_model.bin"}) {
    const bool are_pickled = name == "pytorch_model.bin";
    const fs::path index = directory / (name + ".index.json");
    if (fs::exists(directory / name)) return {{directory / name}, are_pickled};
    if (fs::exists(index)) return {shards(index), are_pickled};
  }
  throw InputError(fmt::format("{}: no model.safetensors there, no pytorch_model.bin, and the index of neither",
                               directory.string()));
}

}  // namespace

std::vector<fs::path> weight_files(const fs::path& directory) {
  const auto files = found_in(directory).files;
  return {files.begin(), files.end()};
}

ModelWeights::ModelWeights(const fs::path& directory) : directory_(directory) {
  const Found found = found_in(directory);
  for (const fs::path& file : found.files) {
    if (found.are_pickled) {
      add_pickle(file);
    } else {
      add_safetensors(file);
    }
  }
}

void ModelWeights::add_safetensors(const fs::path& file) {
  files_.emplace_back(file);
  for (const auto& name : files_.back().names()) file_of_.emplace(name, files_.size() - 1);
}

void ModelWeights::add_pickle(const fs::path& file) {
  for (auto& [name, tensor] : read_torch_file(file)) pickled_.emplace(name, Pickled{std::move(tensor), file});
}

std::vector<std::string> ModelWeights::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : file_of_) names.push_back(name);
  for (const auto& [name, pickled] : pickled_) names.push_back(name);
  return names;
}

bool ModelWeights::contains(const std::string& name) const {
  return file_of_.contains(name) || pickled_.contains(name);
}

at::Tensor ModelWeights::float_tensor(const std::string& name, at::IntArrayRef shape) const {
  // One of another shape is refused where it is read.
  if (const auto found = kept_.find(name); found != kept_.end() && found->second.sizes() == shape) return found->second;
  at::Tensor values = read(name, shape);
  if (keeps_) kept_[name] = values;
  return values;
}

void ModelWeights::add_kept_to(ImageWriter& image) const {
  image.add_number(static_cast<std::int64_t>(kept_.size()));
  for (const auto& [name, tensor] : kept_) {
    image.add_text(name);
    image.add_number(tensor.dim());
    for (const std::int64_t size : tensor.sizes()) image.add_number(size);
    image.add_bytes({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
  }
}

void ModelWeights::keep_from(ImageReader& image) {
  for (std::int64_t left = image.next_number(); left > 0; --left) {
    const std::string name = image.next_text();
    std::vector<std::int64_t> shape(static_cast<std::size_t>(image.next_number()));
    for (std::int64_t& size : shape) size = image.next_number();
    const auto bytes = image.next_bytes();
    kept_[name] = at::from_blob(
        const_cast<std::byte*>(bytes.data()), shape, [keeper = image.keeper()](void*) {},
        at::TensorOptions(at::kFloat));
    // The private one that a .bin file was read into.
    if (const auto read = pickled_.find(name); read != pickled_.end()) read->second.tensor = kept_[name];
  }
}

std::string ModelWeights::kept_digest() const {
  Digest digest;
  for (const auto& [name, tensor] : kept_) {
    digest.add(name);
    digest.add(tensor.const_data_ptr(), tensor.nbytes());
  }
  return digest.text();
}

at::Tensor ModelWeights::read(const std::string& name, at::IntArrayRef shape) const {
  if (const auto found = file_of_.find(name); found != file_of_.end())
    return files_[found->second].float_tensor(name, shape);
  const auto found = pickled_.find(name);
  if (found == pickled_.end()) {
    throw InputError(fmt::format("{}: tensor '{}' of shape {} is missing{}", directory_.string(), name,
                                 shape_text(shape), did_you_mean(name, names())));
  }
  const auto& [tensor, file] = found->second;
  if (!tensor.is_floating_point()) {
    throw InputError(fmt::format("{}: tensor '{}': expected a floating-point type, found {}", file.string(), name,
                                 at::toString(tensor.scalar_type())));
  }
  if (tensor.sizes() != shape) {
    throw InputError(fmt::format("{}: tensor '{}': expected shape {}, found {}", file.string(), name, shape_text(shape),
                                 shape_text(tensor.sizes())));
  }
  auto values = tensor.to(at::kFloat).contiguous();
  require_finite(values, name, file);
  return values;
}

}  // namespace dtrain::model
