// Long sums: exact to a float's last bits at the sizes that models have, and the same bits for any number of threads.

#include "model/sums.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <system_error>

#include "model/autograd.h"
#include "model/norm.h"

namespace dtrain::model {
namespace {

/// What `compute` gives is the same with one thread and with more. Returns it.
at::Tensor same_for_any_number_of_threads(const std::function<at::Tensor()>& compute) {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto expected = compute();
  for (const int threads : {2, 3, 5}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(compute(), expected)) << threads << " threads";
  }
  at::set_num_threads(before);
  return expected;
}

/// A contiguous tensor that holds a block over and over, in the memory of one: its pages are mapped behind each other.
class Repeated {
 public:
  /// The block's bytes are whole pages.
  Repeated(const at::Tensor& block, std::int64_t times)
      : block_bytes_(block.nbytes()), bytes_(block_bytes_ * static_cast<std::size_t>(times)) {
    const int file = memfd_create("block", 0);
    if (file < 0 || write(file, block.const_data_ptr(), block_bytes_) != static_cast<ssize_t>(block_bytes_)) fail();
    place_ = static_cast<std::byte*>(mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (place_ == MAP_FAILED) fail();
    for (std::size_t begin = 0; begin < bytes_; begin += block_bytes_) {
      if (mmap(place_ + begin, block_bytes_, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) fail();
    }
    close(file);
  }
  ~Repeated() { munmap(place_, bytes_); }
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;

  at::Tensor floats() const {
    return at::from_blob(place_, {static_cast<std::int64_t>(bytes_ / sizeof(float))}, at::kFloat);
  }

 private:
  [[noreturn]] static void fail() { throw std::system_error(errno, std::generic_category()); }

  std::size_t block_bytes_;
  std::size_t bytes_;
  std::byte* place_ = nullptr;
};

at::Tensor as_tensor(double value) { return at::tensor({value}, at::kDouble); }

TEST(EuclideanNorm, IsExactForThirtyMillionFloats) {
  at::manual_seed(1);
  constexpr std::int64_t kCount = 30'000'000;
  const auto values = at::randn({kCount});
  double squares = 0;
  for (std::int64_t begin = 0; begin < kCount; begin += kCount / 10) {
    squares += values.slice(0, begin, begin + kCount / 10).to(at::kDouble).square().sum().item<double>();
  }
  const auto norm = same_for_any_number_of_threads([&] { return as_tensor(euclidean_norm(values)); });
  EXPECT_NEAR(norm.item<double>() / std::sqrt(squares), 1, 1e-9);
}

TEST(EuclideanNorm, IsExactForFourHundredMillionFloats) {
  at::manual_seed(7);
  constexpr std::int64_t kBlock = 1 << 20, kTimes = 382;
  static_assert(kBlock * kTimes > 400'000'000);
  const auto block = at::randn({kBlock});
  const Repeated repeated(block, kTimes);
  const auto values = repeated.floats();
  ASSERT_TRUE(at::equal(values.slice(0, (kTimes - 1) * kBlock), block));
  const double squares = static_cast<double>(kTimes) * block.to(at::kDouble).square().sum().item<double>();
  const auto norm = same_for_any_number_of_threads([&] { return as_tensor(euclidean_norm(values)); });
  EXPECT_NEAR(norm.item<double>() / std::sqrt(squares), 1, 1e-9);
}

TEST(EuclideanNorm, IsThatOfAnyNumberOfElements) {
  at::manual_seed(2);
  for (const std::int64_t count : {0, 1, 7, 65'535, 65'536, 65'537, 200'000}) {
    const auto values = at::randn({count});
    const auto norm = same_for_any_number_of_threads([&] { return as_tensor(euclidean_norm(values)); });
    EXPECT_NEAR(norm.item<double>(), values.to(at::kDouble).norm().item<double>(), 1e-9 * std::sqrt(count)) << count;
  }
}

TEST(SumOfSquares, OfRowsIsThatOfTheRowsAlone) {
  at::manual_seed(3);
  const auto table = at::randn({500, 37});
  for (const std::vector<std::int64_t>& rows : {std::vector<std::int64_t>{}, {499}, {0, 3, 4, 77, 498}}) {
    const auto sum = same_for_any_number_of_threads([&] { return as_tensor(sum_of_squares_of_rows(table, rows)); });
    const double expected =
        table.index_select(0, at::tensor(rows, at::kLong)).to(at::kDouble).square().sum().item<double>();
    EXPECT_NEAR(sum.item<double>(), expected, 1e-9 * (1 + expected));
  }
}

TEST(EuclideanNorm, OfWhatIsNotFiniteIsNot) {
  auto values = at::ones({100'000});
  values[77'777] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(euclidean_norm(values)));
  values[77'777] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isinf(euclidean_norm(values)));
  values[77'777] = std::numeric_limits<float>::max();
  EXPECT_NEAR(euclidean_norm(values) / std::numeric_limits<float>::max(), 1, 1e-9) << "its square is no float";
}

TEST(SumRows, IsExactForAHundredThousandRows) {
  at::manual_seed(3);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto rows = at::rand({100'000, 130}).to(type);
    const auto exact = rows.to(at::kDouble).sum(0);
    const auto sums = same_for_any_number_of_threads([&] {
      const auto result = at::empty({130});
      sum_rows(rows, false, result);
      return result;
    });
    EXPECT_LT(((sums - exact) / exact).abs().max().item<double>(), 1e-7);
    sum_rows(rows, true, sums);
    EXPECT_LT(((sums - 2 * exact) / exact).abs().max().item<double>(), 3e-7);
  }
}

TEST(AddRowsAt, IsExactWhereOneRowTakesThemAll) {
  at::manual_seed(4);
  constexpr std::int64_t kRows = 60'000;
  const auto rows = at::rand({kRows, 70});
  const auto start = at::rand({5, 70});
  for (const std::int64_t targets : {1, 2, 5}) {
    const auto index = at::randint(targets, {kRows}, at::kLong);
    const auto exact = start.to(at::kDouble).index_add(0, index, rows.to(at::kDouble));
    const auto table = same_for_any_number_of_threads([&] {
      const auto result = start.clone();
      add_rows_at(index, rows, result);
      return result;
    });
    EXPECT_LT(((table - exact) / exact).abs().max().item<double>(), 1e-7) << targets;
  }
}

TEST(AddRowsAt, IsThatOfLibTorchForManyTargets) {
  at::manual_seed(5);
  const auto rows = at::randn({300, 97});
  const auto index = at::randint(2000, {300}, at::kLong);
  const auto table = same_for_any_number_of_threads([&] {
    const auto result = at::ones({2000, 97});
    add_rows_at(index, rows, result);
    return result;
  });
  EXPECT_LT((table - at::ones({2000, 97}).index_add(0, index, rows)).abs().max().item<double>(), 1e-5);
  const auto untouched = at::ones({2000, 97});
  add_rows_at(index.slice(0, 0, 0), rows.slice(0, 0, 0), untouched);
  EXPECT_TRUE(at::equal(untouched, at::ones({2000, 97})));
}

TEST(LayerNorm, SumsTheGradientsOfItsWeightsExactlyAndTheSameForAnyNumberOfThreads) {
  at::manual_seed(6);
  constexpr std::int64_t kRows = 20'011, kColumns = 48;
  const auto input = at::randn({kRows, kColumns});
  const auto upstream = at::rand({kRows, kColumns});
  const auto gradients = same_for_any_number_of_threads([&] {
    LayerNorm norm("norm", kColumns, 1e-12);
    for (Parameter* parameter : {&norm.weight, &norm.bias}) {
      parameter->set_value(at::ones({kColumns}));
      parameter->set_trainable(true);
      parameter->bind(at::empty({kColumns}), at::empty({kColumns}));
    }
    torch::autograd::backward({norm.forward(input, {}, {})}, {upstream});
    return at::stack({norm.weight.gradient(), norm.bias.gradient()});
  });
  const auto normalized = at::layer_norm(input.to(at::kDouble), {kColumns}, {}, {}, 1e-12);
  EXPECT_LT(((gradients[1] - upstream.to(at::kDouble).sum(0)) / gradients[1]).abs().max().item<double>(), 1e-6);
  const auto magnitude = (upstream * normalized).abs().sum(0);
  EXPECT_LT(((gradients[0] - (upstream * normalized).sum(0)) / magnitude).abs().max().item<double>(), 1e-6);
}

}  // namespace
}  // namespace dtrain::model
