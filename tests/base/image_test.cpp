#include "base/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace dtrain {
namespace {

// An image in memory of its own.
struct Memory {
  explicit Memory(const ImageWriter& image)
      : size(image.size()), bytes(new(std::align_val_t{kImageAlignment}) std::byte[size], [](std::byte* memory) {
          ::operator delete[](memory, std::align_val_t{kImageAlignment});
        }) {
    image.write({bytes.get(), size});
  }
  ImageReader reader() const { return {{bytes.get(), size}, bytes}; }

  std::size_t size;
  std::shared_ptr<std::byte> bytes;
};

TEST(Image, GivesBackWhatWasAddedInItsOrder) {
  const std::vector<double> numbers = {1.5, -2};
  const std::vector<std::int32_t> none;
  ImageWriter image;
  image.add_number(-7);
  image.add_text(std::string("a\0b\xff", 4));
  image.add_text("");
  image.add_list(numbers);
  image.add_list(none);
  image.add_number(INT64_MIN);
  const Memory memory(image);
  auto reader = memory.reader();
  EXPECT_EQ(reader.next_number(), -7);
  EXPECT_EQ(reader.next_text(), std::string("a\0b\xff", 4));
  EXPECT_EQ(reader.next_text(), "");
  EXPECT_EQ(reader.next_list<double>(), numbers);
  EXPECT_TRUE(reader.next_list<std::int32_t>().empty());
  EXPECT_EQ(reader.next_number(), INT64_MIN);
  EXPECT_THROW(reader.next_bytes(), std::logic_error);
}

TEST(Image, HasBytesThatAreAddedTwiceOnce) {
  const std::vector<std::int64_t> large(1000, 3);
  ImageWriter image;
  image.add_list(large);
  const std::size_t before = image.size();
  image.add_list(large);
  EXPECT_LT(image.size(), before + 100);
  const Memory memory(image);
  auto reader = memory.reader();
  const auto first = reader.next_bytes();
  EXPECT_EQ(first.data(), reader.next_bytes().data());
  EXPECT_EQ(memory.reader().next_list<std::int64_t>(), large);
}

TEST(Image, AlignsItsParts) {
  const std::vector<std::int8_t> odd(3, 1);
  ImageWriter image;
  for (int i = 0; i < 5; ++i) {
    image.add_text("x");
    image.add_list(odd);
  }
  const Memory memory(image);
  auto reader = memory.reader();
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(reader.next_bytes().data()) % kImageAlignment, 0U) << i;
}

TEST(Image, OfNothingHasNothing) {
  const Memory memory{ImageWriter()};
  auto reader = memory.reader();
  EXPECT_THROW(reader.next_text(), std::logic_error);
}

}  // namespace
}  // namespace dtrain
