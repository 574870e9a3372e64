#include "model/parameter.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iterator>

#include "model/autograd.h"
#include "model/sums.h"

namespace dtrain::model {
namespace {

// A gradient of so few columns (an adapter's of rank 8) and more rows is multiplied transposed: MKL takes several times
// as long for few columns as for few rows.
constexpr std::int64_t kFewColumns = 15;

struct UseNode : torch::autograd::Node {
  explicit UseNode(Parameter& used) : parameter(used) {}
  variable_list apply(variable_list&& gradients) override {
    parameter.add(gradients[0]);
    return {};
  }
  Parameter& parameter;
};

}  // namespace

void Parameter::set_value(at::Tensor value) {
  value_ = std::move(value);
  if (value_.defined()) shape_ = value_.sizes().vec();
  matmul_value_.reset();
  value_changed();
}

const at::Tensor& Parameter::matmul_value(at::ScalarType matmul_type) {
  if (before_read) before_read();
  if (matmul_type != at::kBFloat16) return value_;
  if (!matmul_value_is_current_) {
    const at::NoGradGuard no_grad;
    if (!matmul_value_.defined()) matmul_value_ = at::empty_like(value_, value_.options().dtype(matmul_type));
    matmul_value_.copy_(value_);
    matmul_value_is_current_ = true;
  }
  return matmul_value_;
}

void Parameter::values_changed(const std::vector<Parameter*>& parameters) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> values;
  std::vector<at::Tensor> matmul_values;
  for (Parameter* parameter : parameters) {
    parameter->matmul_value_is_current_ = parameter->matmul_value_.defined();
    if (!parameter->matmul_value_is_current_) continue;
    values.push_back(parameter->value_);
    matmul_values.push_back(parameter->matmul_value_);
  }
  if (!values.empty()) at::_foreach_copy_(matmul_values, values);
}

void Parameter::bind(const at::Tensor& value, const at::Tensor& gradient) {
  at::NoGradGuard no_grad;
  value.copy_(value_);
  set_value(value);
  set_gradient(gradient);
  begin_step();
}

void Parameter::begin_step() {
  written_ = false;
  expected_ = 0;
}

at::Tensor Parameter::use() {
  if (before_read) before_read();
  if (!trainable_ || !recording()) return value_;
  expect_gradient();
  auto alias = value_.detach();
  torch::autograd::set_history(alias, std::make_shared<UseNode>(*this));
  return alias;
}

void Parameter::clear_gradient() {
  if (gradient_rows_) {
    for (const std::int64_t row : *gradient_rows_) gradient_.select(0, row).zero_();
  } else {
    gradient_.zero_();
  }
  if (is_lookup_table_ && gradient_.is_cpu()) gradient_rows_.emplace();
}

void Parameter::add_matmul(const at::Tensor& left, const at::Tensor& right, double scale) {
  gradient_rows_.reset();
  if (const auto type = gradient_.scalar_type(); !left.is_cpu() && !written_ && left.scalar_type() != type) {
    at::mm_out(gradient_, left.t(), right, type);
    if (scale != 1) gradient_.mul_(scale);
  } else if (left.scalar_type() != type) {
    const auto part = at::mm(left.t(), right);
    if (written_) {
      gradient_.add_(part, scale);
    } else {
      gradient_.copy_(part);
      if (scale != 1) gradient_.mul_(scale);
    }
  } else if (left.is_cpu() && right.size(1) <= kFewColumns && left.size(1) > right.size(1)) {
    const auto part = at::mm(right.t(), left).t();
    if (written_) {
      gradient_.add_(part, scale);
    } else {
      at::mul_out(gradient_, part, at::scalar_tensor(scale, part.options()));
    }
  } else if (written_) {
    gradient_.addmm_(left.t(), right, 1, scale);
  } else {
    at::mm_out(gradient_, left.t(), right);
    if (scale != 1) gradient_.mul_(scale);
  }
  contributed();
}

void Parameter::add_row_sum(const at::Tensor& rows) {
  gradient_rows_.reset();
  if (rows.is_cpu()) {
    sum_rows(rows, written_, gradient_);
  } else if (written_) {
    gradient_.add_(rows.sum({0}, false, gradient_.scalar_type()));
  } else {
    at::sum_out(gradient_, rows, {0}, false, gradient_.scalar_type());
  }
  contributed();
}

void Parameter::add(const at::Tensor& gradient) {
  gradient_rows_.reset();
  // A path that autograd never took (an undefined gradient) contributes zero.
  if (gradient.defined()) {
    if (written_) {
      gradient_.add_(gradient);
    } else {
      gradient_.copy_(gradient);
    }
  } else if (!written_) {
    gradient_.zero_();
  }
  contributed();
}

void Parameter::add_rows(const at::Tensor& index, const at::Tensor& rows) {
  if (!index.is_cpu()) {
    // In a fixed order, which a GPU's index_add_ has not.
    add(at::embedding_dense_backward(rows, index, gradient_.size(0), padding_row_.value_or(-1), false));
    return;
  }
  if (!written_) clear_gradient();
  const auto reached = add_rows_at(index, rows, gradient_);
  if (gradient_rows_) {
    std::vector<std::int64_t> all;
    std::set_union(gradient_rows_->begin(), gradient_rows_->end(), reached.begin(), reached.end(),
                   std::back_inserter(all));
    gradient_rows_ = std::move(all);
  }
  if (padding_row_) gradient_.select(0, *padding_row_).zero_();
  contributed();
}

void Parameter::contributed() {
  written_ = true;
  if (--expected_ == 0 && on_gradient_ready) on_gradient_ready();
}

}  // namespace dtrain::model
