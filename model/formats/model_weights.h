#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/image.h"
#include "model/formats/safetensors.h"

namespace dtrain::model {

/// The files with the tensors of a model directory, in the order of their names: the first of these that is there:
/// model.safetensors, the files that model.safetensors.index.json lists, pytorch_model.bin, the files that
/// pytorch_model.bin.index.json lists. Throws InputError where there is none of them, or an index is damaged.
std::vector<std::filesystem::path> weight_files(const std::filesystem::path& directory);

/// The tensors of a model directory, from its `weight_files`. Of a .bin file the tensors alone are read, no code in it
/// is run. Throws InputError naming file and tensor.
class ModelWeights {
 public:
  explicit ModelWeights(const std::filesystem::path& directory);

  std::vector<std::string> names() const;
  bool contains(const std::string& name) const;
  /// As SafetensorsFile::float_tensor.
  at::Tensor float_tensor(const std::string& name, at::IntArrayRef shape) const;

  /// From now on a tensor is read once: who asks for it again is given the same storage, and writes to a copy alone.
  void keep_tensors() { keeps_ = true; }
  /// Those that are kept, for another process of this machine: as part of an image, while this lives, and out of one,
  /// whose bytes they then are.
  void add_kept_to(ImageWriter& image) const;
  void keep_from(ImageReader& image);
  /// Digest of names and values of those that are kept.
  std::string kept_digest() const;

 private:
  struct Pickled {
    at::Tensor tensor;
    std::filesystem::path file;
  };
  void add_safetensors(const std::filesystem::path& file);
  void add_pickle(const std::filesystem::path& file);
  at::Tensor read(const std::string& name, at::IntArrayRef shape) const;

  std::filesystem::path directory_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> file_of_;
  std::map<std::string, Pickled> pickled_;
  bool keeps_ = false;
  mutable std::map<std::string, at::Tensor> kept_;  // float
};

}  // namespace dtrain::model
