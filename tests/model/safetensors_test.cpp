#include "model/formats/safetensors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "base/atomic_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"
#include "tests/model/reference_case.h"

namespace dtrain::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string with_length(const std::string& header, const std::string& data, std::uint64_t length) {
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + data;
}

std::string with_header(const std::string& header, const std::string& data) {
  return with_length(header, data, header.size());
}

class Safetensors : public testing::Test {
 protected:
  std::string refusal(const std::string& content) const {
    const auto path = temporary.file("model.safetensors", content);
    const auto message = failure_of<InputError>([&] { SafetensorsFile file(path); });
    EXPECT_THAT(message, HasSubstr(path.string()));
    return message;
  }

  const TemporaryDirectory temporary;
};

TEST_F(Safetensors, OfEveryTypeAreReadAsPythonWroteThem) {
  const SafetensorsFile file(reference_directory() / "types.safetensors");
  const auto exact = file.tensor("float64");
  ASSERT_EQ(exact.scalar_type(), at::kDouble);
  EXPECT_EQ(exact.sizes(), (at::IntArrayRef{3, 5}));
  for (const auto& [name, type] :
       {std::pair("float32", at::kFloat), std::pair("float16", at::kHalf), std::pair("bfloat16", at::kBFloat16)}) {
    const auto tensor = file.tensor(name);
    EXPECT_EQ(tensor.scalar_type(), type);
    EXPECT_EQ(tensor.sizes(), (at::IntArrayRef{3, 5}));
    EXPECT_LT(tensor.to(at::kDouble).abs().max().item<double>(), 6);
    EXPECT_GT(tensor.to(at::kDouble).std().item<double>(), 0.3);
    EXPECT_TRUE(at::equal(file.float_tensor(name, {3, 5}), tensor.to(at::kFloat)));
  }
  EXPECT_TRUE(at::equal(file.tensor("int64"), at::arange(-3, 4, at::kLong)));
  EXPECT_TRUE(at::equal(file.tensor("int32"), at::arange(5, at::kInt)));
  EXPECT_TRUE(at::equal(file.tensor("int8"), at::arange(-2, 3, at::kChar)));
  EXPECT_TRUE(at::equal(file.tensor("uint8"), at::arange(7, at::kByte)));
  EXPECT_TRUE(at::equal(file.tensor("bool"), at::tensor({1, 0, 1}).to(at::kBool)));
  EXPECT_EQ(file.tensor("scalar").item<float>(), 2.5F);
  EXPECT_EQ(file.tensor("empty").sizes(), (at::IntArrayRef{0, 4}));
  EXPECT_EQ(file.tensor("name with \"quotes\" and ü").item<float>(), 1);
  EXPECT_EQ(file.metadata().at("key"), "välue");
}

TEST_F(Safetensors, AreReadAsTheyWereWritten) {
  const SafetensorsFile python(reference_directory() / "types.safetensors");
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& name : python.names()) tensors.emplace_back(name, python.tensor(name));
  tensors.emplace_back("transposed", at::arange(6, at::kFloat).view({2, 3}).t());
  const auto path = temporary.path() / "written.safetensors";
  write_safetensors(path, tensors, {{"format", "pt"}});
  const SafetensorsFile file(path);
  EXPECT_EQ(file.names().size(), tensors.size());
  EXPECT_EQ(file.metadata().at("format"), "pt");
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(file.type(name), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(file.tensor(name), tensor)) << name;
  }
}

// In an order that is not that of their names; of "b" and "c" any eight bits are numbers.
std::vector<std::pair<std::string, at::Tensor>> some_tensors() {
  return {{"c", at::arange(30, at::kInt).view({5, 6}).t()},
          {"a", at::linspace(-1, 1, 40)},
          {"empty", at::empty({0, 3})},
          {"b", at::arange(20, at::kByte)}};
}

TEST_F(Safetensors, WrittenHereHaveTheDigestOfTheirTensorsInTheOrderOfNames) {
  const auto path = temporary.path() / "written.safetensors";
  write_safetensors(path, some_tensors(), {{"format", "pt"}});
  const SafetensorsFile file(path);
  Digest digest;
  for (const char* name : {"a", "b", "c"}) {
    const auto tensor = file.tensor(name);
    digest.add(tensor.const_data_ptr(), tensor.nbytes());
  }
  EXPECT_EQ(file.metadata().at("dtrain_digest"), digest.text());
  EXPECT_EQ(file.metadata().size(), 2U);
  write_safetensors(path, some_tensors(), {}, DataDigest::without);
  EXPECT_EQ(SafetensorsFile(path).metadata().size(), 0U);
}

class SafetensorsWithABitFlipped : public Safetensors, public testing::WithParamInterface<unsigned> {};

TEST_P(SafetensorsWithABitFlipped, AreRefusedWithFileAndBothDigestsWhicheverTensorIsRead) {
  const auto path = temporary.path() / "written.safetensors";
  write_safetensors(path, some_tensors());
  const std::string whole = read_file(path);
  const std::string digest = SafetensorsFile(path).metadata().at("dtrain_digest");
  const std::size_t data = (30 * 4 + 40 * 4 + 20);
  std::mt19937 random(GetParam());
  for (int i = 0; i < 200; ++i) {
    std::string changed = whole;
    const std::size_t place = whole.size() - 1 - random() % data;
    changed[place] = static_cast<char>(changed[place] ^ (1 << random() % 8));
    const auto damaged = temporary.file("damaged.safetensors", changed);
    const SafetensorsFile file(damaged);
    EXPECT_EQ(file.names().size(), 4U) << "what it holds can be listed";
    for (const auto& name : file.names()) {
      EXPECT_THAT(failure_of<InputError>([&] { file.tensor(name); }),
                  AllOf(HasSubstr(damaged.string()), HasSubstr("expected tensors of digest '" + digest + "'"),
                        HasSubstr("found '"), HasSubstr("they are not what was written")));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SafetensorsWithABitFlipped, testing::Range(1U, 6U));

TEST_F(Safetensors, WithoutADigestAreReadAsTheyAre) {
  // A file of Python's, with a bit flipped: nobody can tell.
  std::string content = read_file(reference_directory() / "types.safetensors");
  ASSERT_EQ(SafetensorsFile(reference_directory() / "types.safetensors").metadata().count("dtrain_digest"), 0U);
  content.back() = static_cast<char>(content.back() ^ 1);
  const SafetensorsFile file(temporary.file("changed.safetensors", content));
  for (const auto& name : file.names()) file.tensor(name);
}

TEST_F(Safetensors, ThatAreDamagedAreRefusedSayingHow) {
  const std::string data(16, '\1');
  const std::string tensor = R"({"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})";
  EXPECT_THAT(refusal("abc"), HasSubstr("expected at least 8 bytes, found 3"));
  EXPECT_THAT(refusal(with_header(tensor, data).substr(0, 20)), HasSubstr("the file has 12 after its length"));
  EXPECT_THAT(refusal(with_length(tensor, data, ~0ULL)), HasSubstr("the header claims 18446744073709551615 bytes"));
  EXPECT_THAT(refusal(with_header("{\"w\":", data)), HasSubstr("the header is not a JSON object"));
  EXPECT_THAT(refusal(with_header("[]", data)), HasSubstr("the header is not a JSON object"));
  EXPECT_THAT(refusal(with_header(tensor, data.substr(0, 12))),
              AllOf(HasSubstr("tensor 'w'"), HasSubstr("[0, 16] lie outside the 12 bytes")));
  EXPECT_THAT(refusal(with_header(tensor, data + "12")), HasSubstr("the tensors have 16 bytes, the file holds 18"));
  const auto changed = [&](const std::string& entries) { return refusal(with_header("{" + entries + "}", data)); };
  EXPECT_THAT(changed(R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,16]})"),
              HasSubstr("shape [2, 3] of F32 needs 24 bytes, data_offsets give 16"));
  EXPECT_THAT(changed(R"("w":{"dtype":"F7","shape":[2,2],"data_offsets":[0,16]})"),
              AllOf(HasSubstr("dtype 'F7' is not supported; expected one of F64, F32, F16, BF16"),
                    testing::Not(HasSubstr("Is the file complete?"))));
  EXPECT_THAT(changed(R"("w":{"dtype":"F32","shape":[2,2],"data_offsets":[16,0]})"), HasSubstr("lie outside"));
  EXPECT_THAT(changed(R"("w":{"dtype":"F32","shape":[-2,2],"data_offsets":[0,16]})"),
              HasSubstr("shape is not a list of sizes"));
  EXPECT_THAT(changed(R"("w":{"dtype":"F32","shape":[2,2],"data_offsets":[0]})"),
              HasSubstr("data_offsets is not a pair of sizes"));
  EXPECT_THAT(changed(R"("w":{"dtype":"F32","shape":[2,2]})"), HasSubstr("expected dtype, shape and data_offsets"));
  EXPECT_THAT(changed(R"("w":{"dtype":4,"shape":[2,2],"data_offsets":[0,16]})"), HasSubstr("dtype is not a string"));
  EXPECT_THAT(changed(R"("w":{"dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,16]})"),
              HasSubstr("its size overflows"));
  EXPECT_THAT(changed(R"("w":{"dtype":"U8","shape":[0,9223372036854775808],"data_offsets":[0,0]})"),
              HasSubstr("its size overflows"));
  EXPECT_THAT(changed(R"("a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},
                         "b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]})"),
              AllOf(HasSubstr("tensor 'b'"), HasSubstr("[8, 16] overlap")));
  EXPECT_THAT(changed(R"("__metadata__":3)"), HasSubstr("__metadata__ is not an object"));
}

TEST_F(Safetensors, AskedForWhatTheyDoNotHaveNameTheNearestAndTheShapes) {
  const SafetensorsFile file(reference_directory() / "types.safetensors");
  EXPECT_THAT(failure_of<InputError>([&] { file.tensor("float33"); }),
              AllOf(HasSubstr("tensor 'float33' is missing"), HasSubstr("did you mean 'float32'?")));
  EXPECT_THAT(failure_of<InputError>([&] {
                file.float_tensor("float32", {5, 3});
              }),
              HasSubstr("tensor 'float32': expected shape [5, 3], found [3, 5]"));
  EXPECT_THAT(failure_of<InputError>([&] { file.float_tensor("int32", {5}); }),
              HasSubstr("tensor 'int32': expected a floating-point type, found I32"));
}

TEST_F(Safetensors, ThatDoNotExistAreAnInputError) {
  EXPECT_THAT(failure_of<InputError>([&] { SafetensorsFile file(temporary.path() / "none.safetensors"); }),
              HasSubstr("none.safetensors"));
}

TEST_F(Safetensors, WithAnyBytesChangedAreReadOrRefused) {
  const auto whole = read_file(reference_directory() / "types.safetensors");
  std::mt19937 random(5);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    auto changed = whole;
    // Most changes go to the header, where they matter.
    for (int change = static_cast<int>(random() % 3); change >= 0; --change) {
      changed[random() % (random() % 4 == 0 ? changed.size() : 900)] = static_cast<char>(random());
    }
    if (random() % 5 == 0) changed.resize(random() % changed.size());
    const auto path = temporary.file("changed.safetensors", changed);
    try {
      const SafetensorsFile file(path);
      for (const auto& name : file.names()) file.tensor(name);
    } catch (const InputError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
  EXPECT_LT(refused, 3000);
}

}  // namespace
}  // namespace dtrain::model
