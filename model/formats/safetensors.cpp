#include "model/formats/safetensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/listing.h"
#include "base/nearest_name.h"

namespace dtrain::model {
namespace {

using nlohmann::json;

constexpr std::size_t kLargestHeader = 100'000'000;  // the reference reader's limit
constexpr const char* kDigest = "dtrain_digest";

struct NamedType {
  const char* name;
  at::ScalarType type;
};
constexpr std::array<NamedType, 9> kTypes = {{{"F64", at::kDouble},
                                              {"F32", at::kFloat},
                                              {"F16", at::kHalf},
                                              {"BF16", at::kBFloat16},
                                              {"I64", at::kLong},
                                              {"I32", at::kInt},
                                              {"I8", at::kChar},
                                              {"U8", at::kByte},
                                              {"BOOL", at::kBool}}};

const char* type_name(at::ScalarType type) {
  const auto* found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const NamedType& known) { return known.type == type; });
  if (found == kTypes.end()) throw InputError("a tensor type that safetensors files do not hold");
  return found->name;
}

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using TakeBytes = std::function<void(const void* bytes, std::size_t size)>;

// The tensors one after the other, as a file holds them; one at a time is copied from its device.
void for_bytes_of(const NamedTensors& tensors, const TakeBytes& take) {
  for (const auto& [name, tensor] : tensors) {
    const auto plain = tensor.detach().to(at::kCPU).contiguous();
    if (plain.numel() > 0) take(plain.const_data_ptr(), plain.nbytes());
  }
}

}  // namespace

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", "));
}

void require_finite(const at::Tensor& tensor, const std::string& name, const std::filesystem::path& file) {
  // One that is not finite makes the sum so, too; of large numbers the sum alone may be.
  if (std::isfinite(tensor.sum().item<double>()) || at::isfinite(tensor).all().item<bool>()) return;
  throw InputError(fmt::format("{}: tensor '{}' holds numbers that are not finite", file.string(), name));
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), file_(path) {
  const auto bytes = file_.bytes();
  const auto fail = [&](const std::string& problem) {
    throw InputError(
        fmt::format("{}: not a valid safetensors file: {}. Is the file complete?", path_.string(), problem));
  };
  if (bytes.size() < 8) fail(fmt::format("expected at least 8 bytes, found {}", bytes.size()));
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  if (header_size > kLargestHeader || header_size > bytes.size() - 8) {
    fail(fmt::format("the header claims {} bytes, the file has {} after its length", header_size, bytes.size() - 8));
  }
  data_begin_ = 8 + header_size;
  const std::size_t data_size = bytes.size() - data_begin_;
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  json header;
  try {
    header = parse_json({text, header_size}, "the header");
  } catch (const InputError& error) {
    fail(fmt::format("the header is not a JSON object ({})", error.what()));
  }
  if (!header.is_object()) fail("the header is not a JSON object");

  std::vector<std::pair<std::size_t, std::size_t>> extents;
  std::vector<std::string> extent_names;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) fail("__metadata__ is not an object");
      for (const auto& [key, text_value] : value.items()) {
        if (text_value.is_string()) metadata_[key] = text_value.get<std::string>();
      }
      continue;
    }
    const auto fail_tensor = [&, &key = name](const std::string& problem) {
      fail(fmt::format("tensor '{}': {}", key, problem));
    };
    if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") || !value.contains("data_offsets")) {
      fail_tensor("expected dtype, shape and data_offsets");
    }
    const json& shape = value["shape"];
    const json& offsets = value["data_offsets"];
    const auto is_size = [](const json& number) { return number.is_number_unsigned(); };
    if (!value["dtype"].is_string()) fail_tensor("dtype is not a string");
    if (!shape.is_array() || !std::all_of(shape.begin(), shape.end(), is_size))
      fail_tensor("shape is not a list of sizes");
    if (!offsets.is_array() || offsets.size() != 2 || !is_size(offsets[0]) || !is_size(offsets[1])) {
      fail_tensor("data_offsets is not a pair of sizes");
    }
    const auto dtype = value["dtype"].get<std::string>();
    const auto* type =
        std::find_if(kTypes.begin(), kTypes.end(), [&](const NamedType& known) { return known.name == dtype; });
    if (type == kTypes.end()) {
      std::vector<std::string> names;
      for (const NamedType& known : kTypes) names.emplace_back(known.name);
      throw InputError(fmt::format("{}: tensor '{}': dtype '{}' is not supported; expected one of {}", path_.string(),
                                   name, dtype, fmt::join(names, ", ")));
    }
    Entry entry{type->type, {}, offsets[0].get<std::size_t>(), offsets[1].get<std::size_t>()};
    std::size_t expected = at::elementSize(type->type);
    std::int64_t extent = 1;  // the product of the sizes that are not 0, which LibTorch's strides must hold
    for (const json& size : shape) {
      const auto number = size.get<std::size_t>();
      entry.shape.push_back(static_cast<std::int64_t>(number));
      if (__builtin_mul_overflow(expected, number, &expected) ||
          __builtin_mul_overflow(extent, std::max<std::size_t>(number, 1), &extent)) {
        fail_tensor("its size overflows");
      }
    }
    if (entry.begin > entry.end || entry.end > data_size) {
      fail_tensor(
          fmt::format("data_offsets [{}, {}] lie outside the {} bytes of data", entry.begin, entry.end, data_size));
    }
    if (entry.end - entry.begin != expected) {
      fail_tensor(fmt::format("shape {} of {} needs {} bytes, data_offsets give {}", shape_text(entry.shape), dtype,
                              expected, entry.end - entry.begin));
    }
    if (expected > 0) extents.emplace_back(entry.begin, entry.end);
    entries_.emplace(name, std::move(entry));
  }
  std::sort(extents.begin(), extents.end());
  std::size_t covered = 0;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    covered += extents[i].second - extents[i].first;
    if (i > 0 && extents[i].first < extents[i - 1].second) {
      const auto owner = std::find_if(entries_.begin(), entries_.end(), [&](const auto& named) {
        return named.second.begin == extents[i].first && named.second.end == extents[i].second;
      });
      fail(fmt::format("tensor '{}': its bytes [{}, {}] overlap another tensor's", owner->first, extents[i].first,
                       extents[i].second));
    }
  }
  // As the reference reader: bytes that belong to nothing are a sign of a file that is not what its header says.
  if (covered != data_size) fail(fmt::format("the tensors have {} bytes, the file holds {}", covered, data_size));
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    throw InputError(fmt::format("{}: tensor '{}' is missing{}", path_.string(), name, did_you_mean(name, names())));
  }
  return found->second;
}

void SafetensorsFile::check_digest() const {
  const auto written = metadata_.find(kDigest);
  if (is_checked_ || written == metadata_.end()) return;
  Digest digest;
  for (const auto& [name, tensor] : entries_)
    digest.add(file_.bytes().data() + data_begin_ + tensor.begin, tensor.end - tensor.begin);
  const std::string found = digest.text();
  if (found != written->second) {
    throw InputError(fmt::format(
        "{}: expected tensors of digest '{}', as '{}' in its __metadata__ says, found '{}': they are not "
        "what was written. Take another copy of the file; who changes tensors on purpose leaves that key out",
        path_.string(), shown_text(written->second), kDigest, found));
  }
  is_checked_ = true;
}

std::vector<std::int64_t> SafetensorsFile::shape(const std::string& name) const { return entry(name).shape; }
at::ScalarType SafetensorsFile::type(const std::string& name) const { return entry(name).type; }

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const Entry& found = entry(name);
  check_digest();
  auto tensor = at::empty(found.shape, at::TensorOptions().dtype(found.type));
  if (tensor.numel() > 0) {
    std::memcpy(tensor.mutable_data_ptr(), file_.bytes().data() + data_begin_ + found.begin, found.end - found.begin);
  }
  return tensor;
}

at::Tensor SafetensorsFile::float_tensor(const std::string& name, at::IntArrayRef shape) const {
  const Entry& found = entry(name);
  if (!at::isFloatingType(found.type)) {
    throw InputError(fmt::format("{}: tensor '{}': expected a floating-point type, found {}", path_.string(), name,
                                 type_name(found.type)));
  }
  if (at::IntArrayRef(found.shape) != shape) {
    throw InputError(fmt::format("{}: tensor '{}': expected shape {}, found {}", path_.string(), name,
                                 shape_text(shape), shape_text(found.shape)));
  }
  auto values = tensor(name).to(at::kFloat);
  require_finite(values, name, path_);
  return values;
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       std::map<std::string, std::string> metadata, DataDigest digest) {
  if (digest == DataDigest::with) {
    auto by_name = tensors;
    std::ranges::sort(by_name, {}, &NamedTensors::value_type::first);
    Digest data;
    for_bytes_of(by_name, [&](const void* bytes, std::size_t size) { data.add(bytes, size); });
    metadata[kDigest] = data.text();
  }
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t size = static_cast<std::size_t>(tensor.numel()) * tensor.element_size();
    header[name] = {{"dtype", type_name(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + size}}};
    offset += size;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t header_size = text.size();
  AtomicFile file(path);
  file.write(&header_size, sizeof header_size);
  file.write(text);
  for_bytes_of(tensors, [&](const void* bytes, std::size_t size) { file.write(bytes, size); });
  file.commit();
}

}  // namespace dtrain::model
