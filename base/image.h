#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace dtrain {

/// Where the parts of an image begin: at multiples of so many bytes, as vector instructions like their operands.
inline constexpr std::size_t kImageAlignment = 64;

/// Where a part of an image is, in bytes from the image's beginning.
struct ImagePlace {
  std::uint64_t begin;
  std::uint64_t size;
};

/// Numbers, texts and lists one after the other, as an image: one run of bytes, the same at any address, which another
/// process of this machine takes apart with ImageReader in the same order. No file format: both are of one program.
class ImageWriter {
 public:
  ImageWriter() = default;
  ImageWriter(const ImageWriter&) = delete;
  ImageWriter& operator=(const ImageWriter&) = delete;

  void add_number(std::int64_t number);
  void add_text(const std::string& text);
  /// Nothing is copied before `write`; bytes that are added twice are in the image once.
  void add_bytes(std::span<const std::byte> bytes) { parts_.push_back(bytes); }
  /// Likewise.
  template <typename Value>
  void add_list(const std::vector<Value>& values) {
    static_assert(std::is_trivially_copyable_v<Value>);
    add_bytes(std::as_bytes(std::span(values)));
  }

  std::size_t size() const;
  /// `image` has `size` bytes, at a multiple of kImageAlignment.
  void write(std::span<std::byte> image) const;

 private:
  std::vector<ImagePlace> places() const;

  std::vector<std::span<const std::byte>> parts_;
  std::list<std::string> own_;  // what some parts are
};

/// Takes an image apart. What asks for more than there is throws std::logic_error.
class ImageReader {
 public:
  /// `keeper` keeps the bytes.
  ImageReader(std::span<const std::byte> image, std::shared_ptr<const void> keeper)
      : image_(image), keeper_(std::move(keeper)) {}

  std::int64_t next_number();
  std::string next_text();
  /// As long as `keeper` lives.
  std::span<const std::byte> next_bytes();
  template <typename Value>
  std::vector<Value> next_list() {
    const auto bytes = next_bytes();
    const auto* values = reinterpret_cast<const Value*>(bytes.data());
    return {values, values + bytes.size() / sizeof(Value)};
  }
  const std::shared_ptr<const void>& keeper() const { return keeper_; }

 private:
  std::span<const std::byte> image_;
  std::shared_ptr<const void> keeper_;
  std::size_t next_ = 0;
};

}  // namespace dtrain
