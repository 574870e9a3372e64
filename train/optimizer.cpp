#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <type_traits>

#include "model/kernels/loops.h"
#include "model/kernels/stored_type.h"
#include "model/sums.h"
#include "peft/registry.h"

namespace dtrain::train {
namespace {

// Elements of a piece: a fraction of a core's cache, and enough pieces for many threads.
constexpr std::int64_t kPiece = 1 << 14;

}  // namespace

double learning_rate_of(const TrainOptions& options) {
  if (options.learning_rate) return *options.learning_rate;
  const auto& grid = peft::method_kind(options.method.name).learning_rates;
  return grid[grid.size() / 2];
}

double schedule_factor(std::int64_t step, std::int64_t total_steps, double warmup_ratio) {
  const auto warmup = static_cast<std::int64_t>(std::ceil(warmup_ratio * static_cast<double>(total_steps)));
  if (step < warmup) return static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(1, warmup));
  return std::max(0.0, static_cast<double>(total_steps - step) /
                           static_cast<double>(std::max<std::int64_t>(1, total_steps - warmup)));
}

AdamW::AdamW(const FlatParameters& parameters, const TrainOptions& options)
    : parameters_(parameters),
      options_(options),
      first_moments_(at::zeros_like(parameters.values)),
      second_moments_(at::zeros_like(parameters.values)) {
  for (const std::size_t i : parameters.tables) {
    const auto& shape = parameters.parameters[i]->shape();
    tables_.push_back({i, shape[1], std::vector<char>(static_cast<std::size_t>(shape[0]), 0)});
  }
  std::size_t group = 0;
  std::size_t table = 0;
  for (std::size_t i = 0; i + 1 < parameters.offsets.size(); ++i) {
    while (parameters.offsets[i] >= parameters.groups[group].end && group + 1 < parameters.groups.size()) ++group;
    const bool is_table = table < tables_.size() && tables_[table].parameter == i;
    const std::int64_t columns = is_table ? tables_[table].columns : 1;
    const std::int64_t length = std::max<std::int64_t>(1, kPiece / columns) * columns;
    const std::int64_t end = parameters.offsets[i + 1];
    for (std::int64_t begin = parameters.offsets[i]; begin < end; begin += length) {
      pieces_.push_back({begin, std::min(begin + length, end), i, group, is_table ? table : tables_.size()});
    }
    if (is_table) ++table;
  }
}

double AdamW::step(double learning_rate, bool leaves_clipped) {
  const at::NoGradGuard no_grad;
  ++steps_;
  const double norm = std::sqrt(sum_of_squared_gradients());
  double factor = 1;
  if (options_.max_gradient_norm > 0 && norm > options_.max_gradient_norm) {
    factor = options_.max_gradient_norm / (norm + 1e-6);
  }
  if (leaves_clipped && factor != 1) {
    parameters_.gradients.mul_(factor);
    factor = 1;
  }
  if (!parameters_.values.is_cpu()) {
    update_on_device(learning_rate, factor);
    return norm;
  }
  mark_reached_rows();
  if (parameters_.values.scalar_type() == at::kDouble) {
    update<double>(learning_rate, factor);
  } else {
    update<float>(learning_rate, factor);
  }
  return norm;
}

double AdamW::sum_of_squared_gradients() const {
  // A GPU sums as a tree; on the CPU LibTorch's norm keeps one float for millions of squares.
  if (!parameters_.gradients.is_cpu()) {
    const double norm = at::linalg_vector_norm(parameters_.gradients).item<double>();
    return norm * norm;
  }
  double sum = 0;
  std::int64_t begin = 0;  // of what is not summed yet
  const auto sum_up_to = [&](std::int64_t end) {
    if (end > begin) sum += model::sum_of_squares(parameters_.gradients.slice(0, begin, end));
  };
  for (const Table& table : tables_) {
    const model::Parameter& parameter = *parameters_.parameters[table.parameter];
    if (!parameter.gradient_rows()) continue;
    sum_up_to(parameters_.offsets[table.parameter]);
    sum += model::sum_of_squares_of_rows(parameter.gradient(), *parameter.gradient_rows());
    begin = parameters_.offsets[table.parameter + 1];
  }
  sum_up_to(parameters_.gradients.numel());
  return sum;
}

void AdamW::mark_reached_rows() {
  for (Table& table : tables_) {
    const model::Parameter& parameter = *parameters_.parameters[table.parameter];
    if (parameter.gradient_rows() && !parameter.matmul_copy().defined()) {
      for (const std::int64_t row : *parameter.gradient_rows()) table.reached[static_cast<std::size_t>(row)] = 1;
    } else {
      std::ranges::fill(table.reached, 1);
    }
  }
}

void AdamW::update_on_device(double learning_rate, double gradient_factor) {
  // The kernel divides gradients by this scale as it reads them: clipping costs no pass of its own.
  std::optional<at::Tensor> scale;
  if (gradient_factor != 1) scale = at::full({}, 1 / gradient_factor, parameters_.gradients.options());
  for (const ParameterGroup& group : parameters_.groups) {
    const auto part = [&](const at::Tensor& whole) { return whole.slice(0, group.begin, group.end); };
    const auto count = at::full({}, static_cast<double>(steps_), parameters_.values.options().dtype(at::kFloat));
    at::_fused_adamw_({part(parameters_.values)}, {part(parameters_.gradients)}, {part(first_moments_)},
                      {part(second_moments_)}, {}, {count}, learning_rate * group.learning_rate_factor, options_.beta1,
                      options_.beta2, group.decays ? options_.weight_decay : 0, options_.epsilon, /*amsgrad=*/false,
                      /*maximize=*/false, scale, std::nullopt);
  }
  parameters_.values_changed();
}

template <typename Real>
void AdamW::update(double learning_rate, double gradient_factor) {
  // What matmuls take of each parameter, written with the values where that is bfloat16.
  std::vector<model::kernels::BFloat16*> copies(parameters_.offsets.size() - 1, nullptr);
  for (std::size_t i = 0; i < parameters_.parameters.size(); ++i) {
    const at::Tensor& copy = parameters_.parameters[i]->matmul_copy();
    if (copy.defined()) copies[i] = model::kernels::mutable_stored_data<model::kernels::BFloat16>(copy);
  }
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_));
  const auto step_of = [&]<typename Stored>(const Piece& piece, Stored* copy) {
    const ParameterGroup& group = parameters_.groups[piece.group];
    const double rate = learning_rate * group.learning_rate_factor;
    const std::int64_t begin = piece.begin;
    return model::kernels::AdamWStep<Real, Stored>{
        .values = parameters_.values.mutable_data_ptr<Real>() + begin,
        .gradients = parameters_.gradients.const_data_ptr<Real>() + begin,
        .first_moments = first_moments_.mutable_data_ptr<Real>() + begin,
        .second_moments = second_moments_.mutable_data_ptr<Real>() + begin,
        .copies = copy == nullptr ? nullptr : copy + (begin - parameters_.offsets[piece.parameter]),
        .gradient_factor = static_cast<Real>(gradient_factor),
        .decay = static_cast<Real>(group.decays ? 1 - rate * options_.weight_decay : 1),
        .beta1 = static_cast<Real>(options_.beta1),
        .beta2 = static_cast<Real>(options_.beta2),
        .step_size = static_cast<Real>(rate / correction1),
        .root = static_cast<Real>(std::sqrt(correction2)),
        .epsilon = static_cast<Real>(options_.epsilon)};
  };
  const auto update_rows = [&](const Piece& piece) {
    const Table& table = tables_[piece.table];
    const auto step = step_of(piece, static_cast<Real*>(nullptr));
    const std::int64_t first_row = (piece.begin - parameters_.offsets[piece.parameter]) / table.columns;
    const std::int64_t rows = (piece.end - piece.begin) / table.columns;
    // Neighbours of a kind at once.
    for (std::int64_t row = 0; row < rows;) {
      const auto reached = [&](std::int64_t r) { return table.reached[static_cast<std::size_t>(first_row + r)] != 0; };
      const std::int64_t begin = row;
      while (row < rows && reached(row) == reached(begin)) ++row;
      if (reached(begin)) {
        model::kernels::loops<Real>().adamw(step, begin * table.columns, row * table.columns);
      } else if (step.decay != 1) {
        model::kernels::loops<Real>().scale(step.values + begin * table.columns, step.decay,
                                            (row - begin) * table.columns);
      }
    }
  };
  at::parallel_for(0, static_cast<std::int64_t>(pieces_.size()), 1, [&](std::int64_t first, std::int64_t last) {
    for (const Piece& piece :
         std::span(pieces_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first))) {
      const std::int64_t count = piece.end - piece.begin;
      if constexpr (std::is_same_v<Real, float>) {
        if (auto* copy = copies[piece.parameter]; copy != nullptr) {
          model::kernels::loops<float, model::kernels::BFloat16>().adamw(step_of(piece, copy), 0, count);
          continue;
        }
      }
      if (piece.table < tables_.size()) {
        update_rows(piece);
      } else {
        model::kernels::loops<Real>().adamw(step_of(piece, static_cast<Real*>(nullptr)), 0, count);
      }
    }
  });
  for (model::Parameter* parameter : parameters_.parameters) parameter->value_changed();
  for (std::size_t i = 0; i < parameters_.parameters.size(); ++i) {
    if (std::is_same_v<Real, float> && copies[i] != nullptr) parameters_.parameters[i]->matmul_copy_written();
  }
}

void AdamW::restore(const at::Tensor& first_moments, const at::Tensor& second_moments, std::int64_t steps) {
  first_moments_.copy_(first_moments);
  second_moments_.copy_(second_moments);
  steps_ = steps;
  for (Table& table : tables_) {
    const auto rows_of = [&](const at::Tensor& moments) {
      return moments.slice(0, parameters_.offsets[table.parameter], parameters_.offsets[table.parameter + 1])
          .view({-1, table.columns})
          .ne(0)
          .any(1);
    };
    const auto reached = rows_of(first_moments_).logical_or_(rows_of(second_moments_)).contiguous();
    const bool* flags = reached.const_data_ptr<bool>();
    std::copy(flags, flags + reached.numel(), table.reached.begin());
  }
}

}  // namespace dtrain::train
