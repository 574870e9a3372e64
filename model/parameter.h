#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dtrain::model {

/// A named tensor of the model, frozen until something makes it trainable.
///
/// A trainable one is bound to a view of the run's flat values and a view of its flat gradients. Backward writes its
/// gradient straight into that view: the first matmul of a step overwrites (nothing is zeroed before), later ones add.
/// That is why parameters are no leaves of LibTorch's autograd, which would zero, allocate and add.
class Parameter {
 public:
  Parameter() = default;
  /// Of the model: a value of that shape is to be loaded.
  Parameter(std::string name, std::vector<std::int64_t> shape) : name_(std::move(name)), shape_(std::move(shape)) {}
  /// Of a method.
  Parameter(std::string name, at::Tensor value)
      : name_(std::move(name)), shape_(value.sizes().vec()), value_(std::move(value)) {}
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  /// Under Hugging Face's name in a `...ForSequenceClassification` model, or PEFT's for what a method adds.
  const std::string& name() const { return name_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  /// Undefined until it is loaded.
  const at::Tensor& value() const {
    if (before_read) before_read();
    return value_;
  }
  /// The value as matmuls take it: itself, or for bfloat16 a copy, kept until the value changes.
  const at::Tensor& matmul_value(at::ScalarType matmul_type);
  /// The last of the copies that matmul_value gave, which whoever changes the value may write himself, and then says
  /// so. Undefined where there is none.
  const at::Tensor& matmul_copy() const { return matmul_value_; }
  void matmul_copy_written() { matmul_value_is_current_ = true; }
  /// Undefined while not bound.
  const at::Tensor& gradient() const { return gradient_; }
  /// Of a lookup table on the CPU: the rows whose gradient may be other than zero, ascending. Unset: any may.
  const std::optional<std::vector<std::int64_t>>& gradient_rows() const { return gradient_rows_; }
  void set_gradient_rows(std::vector<std::int64_t> rows) { gradient_rows_ = std::move(rows); }
  bool trainable() const { return trainable_; }

  void set_value(at::Tensor value);
  /// To be called when somebody wrote into the value (the optimiser).
  void value_changed() { matmul_value_is_current_ = false; }
  /// The same for many: what matmuls take of them is made anew here, on a GPU in a few launches.
  static void values_changed(const std::vector<Parameter*>& parameters);
  void set_trainable(bool trainable) { trainable_ = trainable; }
  /// On the run's learning rate.
  double learning_rate_factor() const { return learning_rate_factor_; }
  void set_learning_rate_factor(double factor) { learning_rate_factor_ = factor; }
  /// Of an embedding: the row that does not train, torch.nn.Embedding's padding_idx.
  void set_padding_row(std::int64_t row) { padding_row_ = row; }
  /// A matrix of which a step reads few rows and gives as few a gradient.
  bool is_lookup_table() const { return is_lookup_table_; }
  void set_lookup_table() { is_lookup_table_ = true; }

  /// Copies the value into `value` and continues there, with gradients in `gradient`.
  void bind(const at::Tensor& value, const at::Tensor& gradient);
  /// Gradients go to `gradient` from now on (the shards of virtual ranks).
  void set_gradient(at::Tensor gradient) {
    gradient_ = std::move(gradient);
    gradient_rows_.reset();
  }

  /// Forgets what was written: the next contribution overwrites.
  void begin_step();
  /// Whether backward has written the gradient since begin_step.
  bool written() const { return written_; }
  /// Makes the gradient zero, of a table those rows that may be other than zero.
  void clear_gradient();

  /// A tensor for use in LibTorch's own operations, whose gradient flows here. Under no-grad or when frozen: the value.
  at::Tensor use();

  /// For operations that write the gradient themselves: one call in forward for each call below in backward.
  void expect_gradient() { ++expected_; }
  /// gradient += scale * left.t() @ right, for left [n, rows] and right [n, columns], both float or both bfloat16.
  void add_matmul(const at::Tensor& left, const at::Tensor& right, double scale);
  /// gradient += sum of rows, for [n, columns].
  void add_row_sum(const at::Tensor& rows);
  /// gradient += value.
  void add(const at::Tensor& gradient);
  /// gradient[index[i]] += rows[i], but for the padding row.
  void add_rows(const at::Tensor& index, const at::Tensor& rows);

  /// Called when the last expected contribution of a backward pass has been written.
  std::function<void()> on_gradient_ready;
  /// Called whenever the value is about to be read: where it may still be on its way from other ranks, whoever knows of
  /// that waits here.
  std::function<void()> before_read;

 private:
  void contributed();

  std::string name_;
  std::vector<std::int64_t> shape_;
  at::Tensor value_;
  at::Tensor gradient_;
  at::Tensor matmul_value_;
  bool matmul_value_is_current_ = false;
  bool trainable_ = false;
  double learning_rate_factor_ = 1;
  std::optional<std::int64_t> padding_row_;
  bool is_lookup_table_ = false;
  std::optional<std::vector<std::int64_t>> gradient_rows_;
  bool written_ = false;
  int expected_ = 0;
};

}  // namespace dtrain::model
