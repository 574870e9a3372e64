#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace dtrain {

/// XXH3-128 of what is added, one after the other: tells contents apart by accident, not by design.
class Digest {
 public:
  Digest();

  void add(const void* bytes, std::size_t size);
  /// Length first, so that no two lists of texts look alike.
  void add(std::string_view text);
  /// Its 128 bits.
  struct Value {
    std::uint64_t low;
    std::uint64_t high;
    bool operator==(const Value&) const = default;
  };
  Value value() const;
  /// The same in 32 hexadecimal digits.
  std::string text() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace dtrain
