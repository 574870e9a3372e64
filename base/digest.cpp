#include "base/digest.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace dtrain {

void Digest::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

Digest::Digest() : state_(XXH3_createState()) { XXH3_128bits_reset(state_.get()); }

void Digest::add(const void* bytes, std::size_t size) { XXH3_128bits_update(state_.get(), bytes, size); }

void Digest::add(std::string_view text) {
  const std::uint64_t size = text.size();
  add(&size, sizeof size);
  add(text.data(), text.size());
}

Digest::Value Digest::value() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  return {hash.low64, hash.high64};
}

std::string Digest::text() const {
  const Value hash = value();
  return fmt::format("{:016x}{:016x}", hash.high, hash.low);
}

}  // namespace dtrain
