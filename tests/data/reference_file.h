#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"

namespace dtrain::data {

/// What a Python script of this folder wrote as the reference: numbers of 32 bits, and texts as their size in bytes and
/// UTF-8. Throws std::out_of_range beyond its end.
class ReferenceFile {
 public:
  explicit ReferenceFile(const std::filesystem::path& path) : content_(read_file(path)) {}

  bool at_end() const { return position_ == content_.size(); }

  std::int32_t number() {
    std::int32_t value = 0;
    std::memcpy(&value, bytes(sizeof value).data(), sizeof value);
    return value;
  }
  std::vector<std::int32_t> numbers(std::int32_t count) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(count));
    for (std::int32_t& value : values) value = number();
    return values;
  }
  /// Nothing where the size is -1.
  std::optional<std::string> text() {
    const std::int32_t size = number();
    if (size < 0) return std::nullopt;
    return std::string(bytes(static_cast<std::size_t>(size)));
  }

 private:
  std::string_view bytes(std::size_t size) {
    if (size > content_.size() - position_) throw std::out_of_range("the reference file ends early");
    position_ += size;
    return std::string_view(content_).substr(position_ - size, size);
  }

  std::string content_;
  std::size_t position_ = 0;
};

}  // namespace dtrain::data
