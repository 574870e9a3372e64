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

AdamW::AdamW(const FlatParameters& parameters, const TrainOptions& options, Sharding sharding, ValueGather* gather)
    : parameters_(parameters), sharding_(std::move(sharding)), gather_(gather), options_(options) {
  for (const std::size_t i : parameters.tables) {
    const auto& shape = parameters.parameters[i]->shape();
    tables_.push_back({i, shape[1], std::vector<char>(static_cast<std::size_t>(shape[0]), 0)});
  }
  pieces_ = pieces_of(sharding_.rank());
  const std::int64_t moments = pieces_.empty() ? 0 : pieces_.back().moments + pieces_.back().flat.size();
  first_moments_ = at::zeros({moments}, parameters.values.options());
  second_moments_ = at::zeros_like(first_moments_);
}

std::vector<AdamW::Piece> AdamW::pieces_of(int rank) const {
  std::vector<dist::Stretch> stretches;
  for (const auto& bucket : sharding_.layout().buckets()) {
    for (const dist::Stretch& stretch : {sharding_.layout().share(bucket, rank), bucket.rest}) {
      if (stretch.size() == 0) continue;
      if (!stretches.empty() && stretches.back().end == stretch.begin) {
        stretches.back().end = stretch.end;
      } else {
        stretches.push_back(stretch);
      }
    }
  }
  for (const Table& table : tables_) {
    const dist::Stretch rows = sharding_.rows_of(static_cast<std::int64_t>(table.reached.size()), rank);
    const std::int64_t begin = parameters_.offsets[table.parameter];
    stretches.push_back({begin + rows.begin * table.columns, begin + rows.end * table.columns});
  }
  std::ranges::sort(stretches, {}, &dist::Stretch::begin);
  std::vector<Piece> pieces;
  for (const dist::Stretch& stretch : stretches) add_pieces(stretch, pieces);
  return pieces;
}

void AdamW::add_pieces(const dist::Stretch& stretch, std::vector<Piece>& pieces) const {
  const bool on_cpu = parameters_.values.is_cpu();
  std::int64_t begin = stretch.begin;
  const auto after = [&](const auto& ends, std::int64_t at) {
    return static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), at) - ends.begin());
  };
  while (begin < stretch.end) {
    const auto group = static_cast<std::size_t>(
        std::ranges::upper_bound(parameters_.groups, begin, {}, &ParameterGroup::end) - parameters_.groups.begin());
    std::int64_t end = std::min(stretch.end, parameters_.groups[group].end);
    std::size_t parameter = 0;
    std::size_t table = tables_.size();
    if (on_cpu) {
      parameter = after(parameters_.offsets, begin) - 1;
      table = static_cast<std::size_t>(std::ranges::find(tables_, parameter, &Table::parameter) - tables_.begin());
      const std::int64_t columns = table < tables_.size() ? tables_[table].columns : 1;
      end = std::min(
          {end, parameters_.offsets[parameter + 1], begin + std::max<std::int64_t>(1, kPiece / columns) * columns});
    }
    const std::int64_t moments = pieces.empty() ? 0 : pieces.back().moments + pieces.back().flat.size();
    pieces.push_back({{begin, end}, moments, parameter, group, table});
    begin = end;
  }
}

double AdamW::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  if (gather_ != nullptr) gather_->wait();  // it may still be writing into the values
  ++steps_;
  const double norm = std::sqrt(sum_of_squared_gradients());
  double factor = 1;
  if (options_.max_gradient_norm > 0 && norm > options_.max_gradient_norm) {
    factor = options_.max_gradient_norm / (norm + 1e-6);
  }
  const bool on_cpu = parameters_.values.is_cpu();
  // LibTorch's kernel scales by floats alone.
  const bool scales_double = !on_cpu && parameters_.values.scalar_type() == at::kDouble;
  if (factor != 1 && (sharding_.needs_gradients() || scales_double)) {
    parameters_.gradients.mul_(factor);
    factor = 1;
  }
  mark_reached_rows();
  if (!on_cpu) {
    update_on_device(learning_rate, factor);
  } else if (parameters_.values.scalar_type() == at::kDouble) {
    update<double>(learning_rate, factor);
  } else {
    update<float>(learning_rate, factor);
  }
  if (sharding_.on()) gather_values(learning_rate);
  return norm;
}

double AdamW::sum_of_squared_gradients() const {
  double sum = 0;
  at::Tensor device_sum;  // read once: the host waits for a GPU
  const auto add_squares = [&](const dist::Stretch& stretch) {
    if (stretch.size() == 0) return;
    const auto values = parameters_.gradients.narrow(0, stretch.begin, stretch.size());
    // A GPU sums as a tree; on the CPU LibTorch's norm keeps one float for millions of squares.
    if (values.is_cpu()) {
      sum += model::sum_of_squares(values);
    } else {
      const auto squares = at::linalg_vector_norm(values).to(at::kDouble).square();
      device_sum = device_sum.defined() ? device_sum + squares : squares;
    }
  };
  if (sharding_.reduced_to() == dist::ReducedTo::shares) {
    // The rest of a bucket, which every rank has, counts once.
    for (const auto& bucket : sharding_.layout().buckets()) {
      add_squares(sharding_.layout().share(bucket, sharding_.rank()));
      if (sharding_.rank() == 0) add_squares(bucket.rest);
    }
    if (device_sum.defined()) sum += device_sum.item<double>();
    const auto all = at::tensor({sum}, at::kDouble);
    sharding_.context().control.all_reduce(all);
    sum = all.item<double>();
  } else {
    for (const dist::Stretch& stretch : sharding_.dense()) add_squares(stretch);
    if (device_sum.defined()) sum += device_sum.item<double>();
  }
  for (const Table& table : tables_) {
    const model::Parameter& parameter = *parameters_.parameters[table.parameter];
    sum += parameter.gradient_rows() ? model::sum_of_squares_of_rows(parameter.gradient(), *parameter.gradient_rows())
                                     : model::sum_of_squares(parameter.gradient());
  }
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
  const auto count = at::full({}, static_cast<double>(steps_), parameters_.values.options().dtype(at::kFloat));
  for (std::size_t g = 0; g < parameters_.groups.size(); ++g) {
    const ParameterGroup& group = parameters_.groups[g];
    std::vector<at::Tensor> values, gradients, first, second, counts;
    for (const Piece& piece : pieces_) {
      if (piece.group != g) continue;
      const std::int64_t size = piece.flat.size();
      values.push_back(parameters_.values.narrow(0, piece.flat.begin, size));
      gradients.push_back(parameters_.gradients.narrow(0, piece.flat.begin, size));
      first.push_back(first_moments_.narrow(0, piece.moments, size));
      second.push_back(second_moments_.narrow(0, piece.moments, size));
      counts.push_back(count);
    }
    if (values.empty()) continue;
    at::_fused_adamw_(values, gradients, first, second, {}, counts, learning_rate * group.learning_rate_factor,
                      options_.beta1, options_.beta2, group.decays ? options_.weight_decay : 0, options_.epsilon,
                      /*amsgrad=*/false, /*maximize=*/false, scale, std::nullopt);
  }
  if (!sharding_.on()) parameters_.values_changed();
}

template <typename Real>
void AdamW::update(double learning_rate, double gradient_factor) {
  // What matmuls take of each parameter, written with the values where that is bfloat16 and the values are all here.
  std::vector<model::kernels::BFloat16*> copies(parameters_.offsets.size() - 1, nullptr);
  if (std::is_same_v<Real, float> && !sharding_.on()) {
    for (std::size_t i = 0; i < parameters_.parameters.size(); ++i) {
      const at::Tensor& copy = parameters_.parameters[i]->matmul_copy();
      if (copy.defined()) copies[i] = model::kernels::mutable_stored_data<model::kernels::BFloat16>(copy);
    }
  }
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_));
  const auto step_of = [&]<typename Stored>(const Piece& piece, Stored* copy) {
    const ParameterGroup& group = parameters_.groups[piece.group];
    const double rate = learning_rate * group.learning_rate_factor;
    const std::int64_t begin = piece.flat.begin;
    return model::kernels::AdamWStep<Real, Stored>{
        .values = parameters_.values.mutable_data_ptr<Real>() + begin,
        .gradients = parameters_.gradients.const_data_ptr<Real>() + begin,
        .first_moments = first_moments_.mutable_data_ptr<Real>() + piece.moments,
        .second_moments = second_moments_.mutable_data_ptr<Real>() + piece.moments,
        .copies = copy == nullptr ? nullptr : copy + (begin - parameters_.offsets[piece.parameter]),
        .gradient_factor = static_cast<Real>(gradient_factor),
        .decay = static_cast<Real>(decay(piece.group, learning_rate)),
        .beta2 = static_cast<Real>(options_.beta2),
        .rest1 = static_cast<Real>(1 - options_.beta1),
        .rest2 = static_cast<Real>(1 - options_.beta2),
        .step_size = static_cast<Real>(rate / correction1),
        .root = static_cast<Real>(std::sqrt(correction2)),
        .epsilon = static_cast<Real>(options_.epsilon)};
  };
  const auto update_rows = [&](const Piece& piece) {
    const Table& table = tables_[piece.table];
    const auto step = step_of(piece, static_cast<Real*>(nullptr));
    const std::int64_t first_row = (piece.flat.begin - parameters_.offsets[piece.parameter]) / table.columns;
    const std::int64_t rows = piece.flat.size() / table.columns;
    // Neighbours of a kind at once.
    for (std::int64_t row = 0; row < rows;) {
      const auto reached = [&](std::int64_t r) { return table.reached[static_cast<std::size_t>(first_row + r)] != 0; };
      const std::int64_t begin = row;
      while (row < rows && reached(row) == reached(begin)) ++row;
      if (reached(begin)) {
        model::kernels::loops<Real>().adamw(step, begin * table.columns, row * table.columns);
      } else if (decay(piece.group, learning_rate) != 1) {
        model::kernels::loops<Real>().scale(step.values + begin * table.columns, step.decay,
                                            (row - begin) * table.columns);
      }
    }
  };
  at::parallel_for(0, static_cast<std::int64_t>(pieces_.size()), 1, [&](std::int64_t first, std::int64_t last) {
    for (auto p = static_cast<std::size_t>(first); p < static_cast<std::size_t>(last); ++p) {
      const Piece& piece = pieces_[p];
      if constexpr (std::is_same_v<Real, float>) {
        if (auto* copy = copies[piece.parameter]; copy != nullptr) {
          model::kernels::loops<float, model::kernels::BFloat16>().adamw(step_of(piece, copy), 0, piece.flat.size());
          continue;
        }
      }
      if (piece.table < tables_.size()) {
        update_rows(piece);
      } else {
        model::kernels::loops<Real>().adamw(step_of(piece, static_cast<Real*>(nullptr)), 0, piece.flat.size());
      }
    }
  });
  for (std::size_t i = 0; i < parameters_.parameters.size(); ++i) {
    parameters_.parameters[i]->value_changed();
    if (copies[i] != nullptr) parameters_.parameters[i]->matmul_copy_written();
  }
}

double AdamW::decay(std::size_t group, double learning_rate) const {
  const ParameterGroup& all = parameters_.groups[group];
  return all.decays ? 1 - learning_rate * all.learning_rate_factor * options_.weight_decay : 1;
}

void AdamW::gather_values(double learning_rate) {
  ValueGather at_once(parameters_);
  ValueGather& gather = gather_ == nullptr ? at_once : *gather_;
  // The rows first: the forward pass begins with them.
  for (const Table& table : tables_) {
    const auto group =
        std::ranges::upper_bound(parameters_.groups, parameters_.offsets[table.parameter], {}, &ParameterGroup::end) -
        parameters_.groups.begin();
    gather_rows(gather, table, decay(static_cast<std::size_t>(group), learning_rate));
  }
  gather.start(sharding_.context().gradients, sharding_.layout());
  if (gather_ == nullptr || !options_.overlap) gather.wait();
}

// What only decays does so on each rank.
void AdamW::gather_rows(ValueGather& gather, const Table& table, double decay) {
  const auto count = static_cast<std::int64_t>(table.reached.size());
  const dist::Stretch own = sharding_.rows_of(count, sharding_.rank());
  std::vector<std::int64_t> reached, mine;
  for (std::int64_t row = 0; row < count; ++row) {
    if (table.reached[static_cast<std::size_t>(row)] == 0) continue;
    reached.push_back(row);
    if (own.begin <= row && row < own.end) mine.push_back(row);
  }
  const auto values = parameters_.parameters[table.parameter]->value();
  if (decay != 1) {
    model::kernels::for_stored_type(values, [&]<typename Real, typename Stored>() {
      Real* data = values.mutable_data_ptr<Real>();
      at::parallel_for(0, count, kPiece / table.columns + 1, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t row = first; row < last; ++row) {
          if (table.reached[static_cast<std::size_t>(row)] != 0 || (own.begin <= row && row < own.end)) continue;
          model::kernels::loops<Real>().scale(data + row * table.columns, static_cast<Real>(decay), table.columns);
        }
      });
    });
  }
  gather.gather_rows(sharding_.context().gradients, values, mine, reached);
}

AdamW::Moments AdamW::moments() const {
  if (!sharding_.on()) return {first_moments_, second_moments_};
  dist::Communicator& ranks = sharding_.context().gradients;
  if (sharding_.rank() != 0) {
    ranks.send(first_moments_, 0);
    ranks.send(second_moments_, 0);
    return {};
  }
  const auto host = parameters_.values.options().device(at::kCPU);
  const Moments all{at::empty({parameters_.size()}, host), at::empty({parameters_.size()}, host)};
  for (int rank = 0; rank < sharding_.ranks(); ++rank) {
    const auto pieces = rank == 0 ? pieces_ : pieces_of(rank);
    const std::int64_t count = pieces.empty() ? 0 : pieces.back().moments + pieces.back().flat.size();
    for (const auto& [own, whole] : {std::pair(first_moments_, all.first), {second_moments_, all.second}}) {
      const auto share = rank == 0 ? own : at::empty({count}, own.options());
      if (rank != 0) ranks.receive(share, rank);
      for (const Piece& piece : pieces) {
        whole.narrow(0, piece.flat.begin, piece.flat.size()).copy_(share.narrow(0, piece.moments, piece.flat.size()));
      }
    }
  }
  return all;
}

void AdamW::restore(const Moments& moments, std::int64_t steps) {
  for (const Piece& piece : pieces_) {
    const std::int64_t size = piece.flat.size();
    first_moments_.narrow(0, piece.moments, size).copy_(moments.first.narrow(0, piece.flat.begin, size));
    second_moments_.narrow(0, piece.moments, size).copy_(moments.second.narrow(0, piece.flat.begin, size));
  }
  steps_ = steps;
  for (Table& table : tables_) {
    const auto rows_of = [&](const at::Tensor& values) {
      return values.slice(0, parameters_.offsets[table.parameter], parameters_.offsets[table.parameter + 1])
          .view({-1, table.columns})
          .ne(0)
          .any(1);
    };
    const auto reached = rows_of(moments.first).logical_or_(rows_of(moments.second)).contiguous();
    const bool* flags = reached.const_data_ptr<bool>();
    std::copy(flags, flags + reached.numel(), table.reached.begin());
  }
}

std::int64_t AdamW::moment_bytes() const {
  return static_cast<std::int64_t>(first_moments_.nbytes() + second_moments_.nbytes());
}

}  // namespace dtrain::train
