#include "model/parameter.h"

#include <ATen/ATen.h>

#include "model/autograd.h"

namespace dtrain::model {
namespace {

struct UseNode : torch::autograd::Node {
  explicit UseNode(Parameter& used) : parameter(used) {}
  variable_list apply(variable_list&& gradients) override {
    parameter.add(gradients[0]);
    return {};
  }
  Parameter& parameter;
};

}  // namespace

void Parameter::bind(const at::Tensor& value, const at::Tensor& gradient) {
  at::NoGradGuard no_grad;
  value.copy_(value_);
  value_ = value;
  gradient_ = gradient;
  begin_step();
}

void Parameter::begin_step() {
  written_ = false;
  expected_ = 0;
}

at::Tensor Parameter::use() {
  if (!trainable_ || !recording()) return value_;
  expect_gradient();
  auto alias = value_.detach();
  torch::autograd::set_history(alias, std::make_shared<UseNode>(*this));
  return alias;
}

void Parameter::add_product(const at::Tensor& left, const at::Tensor& right) {
  if (written_) {
    gradient_.addmm_(left.t(), right);
  } else {
    at::mm_out(gradient_, left.t(), right);
  }
  contributed();
}

void Parameter::add_row_sum(const at::Tensor& rows) {
  if (written_) {
    gradient_.add_(rows.sum(0));
  } else {
    at::sum_out(gradient_, rows, {0});
  }
  contributed();
}

void Parameter::add(const at::Tensor& gradient) {
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
  if (!written_) gradient_.zero_();
  gradient_.index_add_(0, index, rows);
  contributed();
}

void Parameter::contributed() {
  written_ = true;
  if (--expected_ == 0 && on_gradient_ready) on_gradient_ready();
}

}  // namespace dtrain::model
