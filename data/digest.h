#pragma once

#include <fmt/format.h>
#include <xxhash.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace dtrain::data {

/// XXH3-128 of what is added, in its order.
class Digest {
 public:
  Digest() : state_(XXH3_createState()) { XXH3_128bits_reset(state_); }
  ~Digest() { XXH3_freeState(state_); }
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void add(const void* bytes, std::size_t size) { XXH3_128bits_update(state_, bytes, size); }
  /// Length first, so that no two lists of texts look alike.
  void add(std::string_view text) {
    const std::uint64_t size = text.size();
    add(&size, sizeof size);
    add(text.data(), text.size());
  }
  XXH128_hash_t value() const { return XXH3_128bits_digest(state_); }
  /// In hexadecimal.
  std::string text() const {
    const XXH128_hash_t hash = value();
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  XXH3_state_t* state_;
};

}  // namespace dtrain::data
