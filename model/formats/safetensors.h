#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/mapped_file.h"

namespace dtrain::model {

/// A safetensors file, memory-mapped: 8 bytes of header length, a JSON header, the tensors' bytes. The header is
/// checked whole before anything is read: its length, every type and shape, offsets inside the file and not
/// overlapping. Where its __metadata__ has a digest of the tensors' bytes (DataDigest), the first tensor that is read
/// has them compared. Throws InputError naming file and tensor, what was expected and what was found.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return entries_.count(name) > 0; }
  std::vector<std::int64_t> shape(const std::string& name) const;
  at::ScalarType type(const std::string& name) const;
  /// The free texts of the header's __metadata__.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// A copy of a tensor in the type it has in the file. Throws InputError when it is not there.
  at::Tensor tensor(const std::string& name) const;
  /// The same as float, of the expected shape (floating-point types convert, integers are refused), all finite.
  at::Tensor float_tensor(const std::string& name, at::IntArrayRef shape) const;

 private:
  struct Entry {
    at::ScalarType type;
    std::vector<std::int64_t> shape;
    std::size_t begin;
    std::size_t end;
  };
  const Entry& entry(const std::string& name) const;
  void check_digest() const;

  std::filesystem::path path_;
  MappedFile file_;
  std::size_t data_begin_ = 0;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
  mutable bool is_checked_ = false;
};

/// "[2, 384]", as messages show a shape.
std::string shape_text(at::IntArrayRef shape);

/// Throws InputError naming file and tensor where one of the numbers is infinite or none.
void require_finite(const at::Tensor& tensor, const std::string& name, const std::filesystem::path& file);

/// Whether a file's __metadata__ has, as "dtrain_digest", the digest (base/digest.h) of its tensors' bytes in the order
/// of their names, whatever order the file has them in. What has a digest of its own beside it needs none.
enum class DataDigest { with, without };

/// Writes tensors (any device, made contiguous) under their names, atomically; throws TrainingError when the disk
/// refuses.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       std::map<std::string, std::string> metadata = {}, DataDigest digest = DataDigest::with);

}  // namespace dtrain::model
