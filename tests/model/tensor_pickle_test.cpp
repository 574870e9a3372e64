#include "model/formats/tensor_pickle.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/error.h"
#include "tests/base/failure_of.h"

namespace dtrain::model {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

// The codes of a pickle, as Python's pickletools names them.
const std::string kProtocol = "\x80\x02"s;
const std::string kEmptyDictionary = "}";
const std::string kEmptyTuple = ")";
const std::string kTupleOfOne = "\x85"s;
const std::string kStop = ".";

std::string repeated(const std::string& text, std::size_t count) {
  std::string all;
  all.reserve(text.size() * count);
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}
std::string text(const std::string& content) {
  std::string code = "X";
  for (int byte = 0; byte < 4; ++byte) code += static_cast<char>((content.size() >> (8 * byte)) & 0xFFU);
  return code + content;
}
std::string remember(char place) { return "q"s + place; }
std::string recall(char place) { return "h"s + place; }

// ("storage", FloatStorage, "0", "cpu", 100) under the number 0, then whatever follows.
std::string storage() {
  return "(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "Kdt" + "Q" + remember(0);
}
// A tensor of the storage that is remembered: its first `size` numbers, `stride` apart.
std::string tensor(char size, char stride) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + recall(0) + "K\0"s + "K"s + size + kTupleOfOne + "K"s + stride +
         kTupleOfOne + "tR";
}
std::string hundred_numbers(const std::string&) { return std::string(400, '\0'); }

std::string refusal(const std::string& pickle) {
  return failure_of<InputError>([&] { read_tensor_pickle(pickle, hundred_numbers); });
}

TEST(TensorPickle, GivesTensorsByTheirNames) {
  const auto tensors = read_tensor_pickle(
      kProtocol + storage() + "0}" + text("a") + tensor(100, 1) + "s" + text("b") + tensor(50, 2) + "s.",
      hundred_numbers);
  ASSERT_EQ(tensors.size(), 2U);
  EXPECT_EQ(tensors.at("a").sizes(), (at::IntArrayRef{100}));
  EXPECT_EQ(tensors.at("b").sizes(), (at::IntArrayRef{50}));
}

TEST(TensorPickle, ThatNestsAMillionDeepOrInACircleIsRefused) {
  EXPECT_THAT(refusal(kProtocol + kEmptyTuple + repeated(kTupleOfOne, 2'000'000) + kStop),
              HasSubstr("something that is no dictionary"));
  EXPECT_THAT(refusal(kProtocol + "]" + remember(0) + recall(0) + "a" + kStop), HasSubstr("no dictionary"));
}

TEST(TensorPickle, WhoseCallsNameALongTextAgainAndAgainIsRefusedAtOnce) {
  const std::string name = text(std::string(1 << 20, 'a')) + remember(0) + "0";
  EXPECT_THAT(refusal(kProtocol + name + repeated(recall(0) + recall(0) + "\x93", 100'000) + kStop),
              HasSubstr("a function whose name is no name"));
}

TEST(TensorPickle, WhoseTensorsTogetherAreLargerThanTheFileIsRefused) {
  std::string shared = kProtocol + storage() + "0}";
  for (char name = 'a'; name < 'a' + 8; ++name) shared += text(std::string(1, name)) + tensor(100, 1) + "s";
  EXPECT_EQ(read_tensor_pickle(shared + kStop, hundred_numbers).size(), 8U);
  EXPECT_THAT(refusal(shared + text("z") + tensor(100, 1) + "s" + kStop), HasSubstr("8 times as large"));
  EXPECT_THAT(refusal(kProtocol + storage() + "0}" + text("a") + tensor(101, 0) + "s" + kStop),
              HasSubstr("larger than its storage"));
}

TEST(TensorPickle, OfATensorOfManyDimensionsIsRefused) {
  const std::string sizes = "(" + repeated("K\x01"s, 100'000) + "t";
  EXPECT_THAT(refusal(kProtocol + storage() + "0}" + text("a") + "ctorch._utils\n_rebuild_tensor_v2\n(" + recall(0) +
                      "K\0"s + sizes + sizes + "tRs" + kStop),
              HasSubstr("too many dimensions"));
}

}  // namespace
}  // namespace dtrain::model
