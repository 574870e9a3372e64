#include "base/image.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>

namespace dtrain {
namespace {

// An image begins with the number of its parts, and where each of them is.
constexpr std::size_t kCountBytes = sizeof(std::uint64_t);

std::uint64_t aligned(std::uint64_t size) { return (size + kImageAlignment - 1) / kImageAlignment * kImageAlignment; }

}  // namespace

void ImageWriter::add_number(std::int64_t number) {
  add_text(std::string(reinterpret_cast<const char*>(&number), sizeof number));
}

void ImageWriter::add_text(const std::string& text) {
  own_.push_back(text);
  add_bytes(std::as_bytes(std::span(own_.back())));
}

std::vector<ImagePlace> ImageWriter::places() const {
  std::map<std::pair<const std::byte*, std::size_t>, std::uint64_t> known;
  std::vector<ImagePlace> places;
  std::uint64_t end = kCountBytes + parts_.size() * sizeof(ImagePlace);
  for (const auto part : parts_) {
    const auto [found, is_new] = known.try_emplace({part.data(), part.size()}, aligned(end));
    if (is_new) end = found->second + part.size();
    places.push_back({found->second, part.size()});
  }
  return places;
}

std::size_t ImageWriter::size() const {
  std::uint64_t end = kCountBytes;
  for (const ImagePlace& place : places()) end = std::max(end, place.begin + place.size);
  return end;
}

void ImageWriter::write(std::span<std::byte> image) const {
  const auto where = places();
  const std::uint64_t count = where.size();
  std::memcpy(image.data(), &count, sizeof count);
  if (count > 0) std::memcpy(image.data() + kCountBytes, where.data(), count * sizeof(ImagePlace));
  for (std::size_t i = 0; i < where.size(); ++i) {
    if (where[i].size > 0) std::memcpy(image.data() + where[i].begin, parts_[i].data(), where[i].size);
  }
}

std::span<const std::byte> ImageReader::next_bytes() {
  std::uint64_t count = 0;
  if (image_.size() >= kCountBytes) std::memcpy(&count, image_.data(), sizeof count);
  if (next_ >= count) throw std::logic_error("an image has fewer parts than are asked for");
  ImagePlace place{};
  std::memcpy(&place, image_.data() + kCountBytes + next_ * sizeof place, sizeof place);
  ++next_;
  return image_.subspan(place.begin, place.size);
}

std::int64_t ImageReader::next_number() {
  const auto bytes = next_bytes();
  std::int64_t number = 0;
  if (bytes.size() != sizeof number) throw std::logic_error("an image has another part where a number is asked for");
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

std::string ImageReader::next_text() {
  const auto bytes = next_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace dtrain
