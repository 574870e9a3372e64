#include "train/training_step.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <numeric>
#include <stdexcept>

#include "base/error.h"
#include "base/seconds.h"
#include "dist/row_reduction.h"
#include "dist/tree_reduction.h"
#include "model/stage_observer.h"
#include "train/compute_apart.h"
#include "train/evaluation.h"
#include "train/not_finite.h"
#include "train/out_of_memory.h"

namespace dtrain::train {
namespace {

// The lowest stage that returned what is not finite for any example; `head`: none below the head.
class FirstNotFinite final : public model::StageObserver {
 public:
  explicit FirstNotFinite(int head) : stage_(head) {}
  void after_stage(int stage, const at::Tensor& hidden, const model::TokenBatch& batch) override {
    // Rows of no example hold anything.
    if (stage < stage_ && !hidden.slice(0, 0, batch.used_tokens()).isfinite().all().item<bool>()) stage_ = stage;
  }
  int stage() const { return stage_; }

 private:
  int stage_;
};

// An undefined tensor is zero.
void add(at::Tensor& sum, const at::Tensor& term) {
  if (term.defined()) sum = sum.defined() ? sum + term : term;
}

}  // namespace

TrainingStep::TrainingStep(model::Classifier& classifier, FlatParameters& parameters, const TrainOptions& options,
                           const Examples& examples, const RunContext& context, FeatureStore& features,
                           peft::TrainingHooks* hooks)
    : classifier_(classifier),
      parameters_(parameters),
      options_(options),
      examples_(examples),
      context_(context),
      objective_(objective_of(options.problem_type)),
      loss_(objective_.make_loss(options.loss, examples.targets(), context.device)),
      hooks_(hooks),
      plan_(examples.lengths(), options.batch_size, options.seed),
      first_trainable_stage_(classifier.first_trainable_stage()),
      sharding_(parameters, options, context, hooks != nullptr && hooks->reads_gradients()),
      gather_(parameters) {
  const int ranks = context.control.size();
  const int rank = context.control.rank();
  shards_ = options.virtual_ranks > 0 ? options.virtual_ranks : ranks;
  if (shards_ % ranks != 0) {
    throw UsageError(fmt::format("--virtual-ranks {} must be a multiple of the number of ranks, {}", shards_, ranks));
  }
  if (options.virtual_ranks > 0 && options.reduce_format != dist::WireFormat::fp32)
    throw std::logic_error("gradients of virtual ranks are summed in float, and expected to travel so");
  shards_of_rank_ = shards_ / ranks;
  first_shard_ = rank * shards_of_rank_;

  // With cached features an example always belongs to the same shard, so that nothing is computed twice or exchanged.
  Batches mine;
  for (int shard = first_shard_; shard < first_shard_ + shards_of_rank_; ++shard) {
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> lengths;
    for (std::int64_t id = shard; id < examples.size(); id += shards_) {
      ids.push_back(id);
      lengths.push_back(examples.length(id));
    }
    for (auto batch : data::evaluation_batches(lengths, evaluation_tokens(context.device))) {
      for (std::int64_t& position : batch) position = ids[static_cast<std::size_t>(position)];
      mine.push_back(std::move(batch));
    }
  }
  const std::int64_t made = features.made();
  cache_ = features.cache_for(classifier, examples, mine, context);
  if (cache_ != nullptr && features.made() == made) spared_seconds_ = cache_->seconds();

  // Before the hooks below: of a constructor that throws none is left behind.
  compute_apart(context, [&] {
    if (options.virtual_ranks > 0) {
      // Every shard begins at a multiple of 64 bytes: a matmul's last bits depend on where its result lies.
      const std::int64_t padded = (parameters.size() + 15) / 16 * 16;
      shard_gradients_ = at::zeros({shards_of_rank_, padded}, parameters.values.options());
    } else {
      reducer_ = std::make_unique<dist::GradientReducer>(context.gradients, parameters.gradients, parameters.offsets,
                                                         sharding_.layout(), sharding_.reduced_to(), options.overlap,
                                                         options.reduce_format);
    }
  });
  if (sharding_.on()) {
    for (std::size_t i = 0; i < parameters.parameters.size(); ++i) {
      parameters.parameters[i]->before_read = [this, i] {
        if (joins_gather_) {
          gather_.join(i);
        } else {
          gather_.wait();
        }
      };
    }
  }
  if (!reducer_) {
    parameters.gradients = shard_gradients_[0].slice(0, 0, parameters.size());
    return;
  }
  for (std::size_t i = 0; i < parameters.parameters.size(); ++i) {
    parameters.parameters[i]->on_gradient_ready = [this, i] {
      if (last_backward_) reducer_->ready(i);
    };
  }
}

TrainingStep::~TrainingStep() {
  for (model::Parameter* parameter : parameters_.parameters) {
    parameter->on_gradient_ready = nullptr;
    parameter->before_read = nullptr;
  }
}

std::int64_t TrainingStep::allreduce_bytes() const {
  if (reducer_) return reducer_->bytes_per_step() + table_bytes_;
  return context_.control.size() > 1 ? parameters_.bytes() : 0;
}

std::vector<std::int64_t> TrainingStep::share(const std::vector<std::int64_t>& batch, int shard) const {
  // Whether a cache exists must not depend on the rank: a rank without examples of its own has none.
  if (first_trainable_stage_ <= 1) return data::share_of_batch(batch, shard, shards_);
  std::vector<std::int64_t> ids;
  std::copy_if(batch.begin(), batch.end(), std::back_inserter(ids),
               [&](std::int64_t id) { return id % shards_ == shard; });
  return ids;
}

StepOutcome TrainingStep::run(std::int64_t step) {
  const auto batch = plan_.batch(step);
  StepOutcome outcome;
  outcome.examples = static_cast<std::int64_t>(batch.size());
  for (const std::int64_t id : batch) outcome.tokens += examples_.length(id);
  const double divisor = objective_.loss_divisor(examples_.targets(), batch, loss_);
  at::Tensor loss;
  flop_ = {};
  auto begin = std::chrono::steady_clock::now();
  const double gathered_before = gather_.seconds();
  joins_gather_ = true;
  std::string lack;  // of this rank's memory
  try {
    loss = run_shards(batch, step, divisor);
  } catch (const std::exception& error) {
    lack = lack_of_memory(error, context_.memory_advice).value_or("");
    if (lack.empty()) throw;
    // The others sum the gradients of this step, and with them all come to where they hear of it.
    clear_unwritten();
  }
  gather_.wait();  // what no example of this rank needed, and before the host waits for a stream that nothing would end
  joins_gather_ = false;
  const double own_loss = loss.defined() ? loss.item<double>() : 0;
  outcome.compute_seconds = seconds_since(begin) - (gather_.seconds() - gathered_before);
  begin = std::chrono::steady_clock::now();
  if (reducer_) {
    reducer_->finish();
    reduce_tables();
  } else {
    dist::tree_reduce(context_.gradients, shard_gradients_);
    parameters_.set_gradients(parameters_.gradients);
  }
  context_.tick();
  // And each rank's own number, which the zeros of the others leave as it is.
  std::vector<double> mine(static_cast<std::size_t>(4 + context_.control.size()));
  mine[0] = own_loss;
  mine[1] = context_.stop_requested() ? 1 : 0;
  mine[2] = flop_.total();
  mine[3] = lack.empty() ? 0 : 1;
  mine[static_cast<std::size_t>(4 + context_.control.rank())] = outcome.compute_seconds;
  const auto agreed = at::tensor(mine, at::kDouble);
  context_.control.all_reduce(agreed);
  if (agreed[3].item<double>() > 0) throw_out_of_memory(lack, context_);
  outcome.exchange_seconds = seconds_since(begin);
  outcome.loss = agreed[0].item<double>();
  outcome.stop_requested = agreed[1].item<double>() > 0;
  outcome.flop = agreed[2].item<double>();
  const double* of_ranks = agreed.const_data_ptr<double>() + 4;
  outcome.compute_seconds_of_ranks.assign(of_ranks, of_ranks + context_.control.size());
  if (!std::isfinite(outcome.loss)) {
    // What is no number has a sign by chance.
    const double shown = std::isnan(outcome.loss) ? std::abs(outcome.loss) : outcome.loss;
    throw NotFiniteError(
        fmt::format("the loss of step {} is {} ({}); {}", step + 1, shown, batch_text(step), not_finite_text(step)),
        learning_rate_of(options_));
  }
  return outcome;
}

std::string TrainingStep::batch_text(std::int64_t step) const {
  const auto batch = plan_.batch(step);
  const auto shown = static_cast<std::ptrdiff_t>(std::min<std::size_t>(batch.size(), 8));
  return fmt::format("examples {}{} of the training set", fmt::join(batch.begin(), batch.begin() + shown, ", "),
                     batch.size() > 8 ? ", ..." : "");
}

std::string TrainingStep::not_finite_text(std::int64_t step) {
  const at::NoGradGuard no_grad;
  const int head = classifier_.head_stage();
  FirstNotFinite found(head);
  const auto batch = plan_.batch(step);
  for (int shard = first_shard_; shard < first_shard_ + shards_of_rank_; ++shard) {
    for (const std::int64_t id : share(batch, shard)) {
      model::ForwardContext forward;
      forward.matmul_type = context_.matmul_type;
      forward.observer = &found;
      classifier_.forward(examples_.collate({id}, context_.device), forward);
    }
  }
  const auto stages = context_.control.all_gather(at::tensor({static_cast<std::int64_t>(found.stage())}, at::kLong));
  const auto stage = static_cast<int>(stages.min().item<std::int64_t>());
  const std::string what = stage == 0     ? std::string("the embeddings")
                           : stage < head ? fmt::format("layer {} of {}", stage, head - 1)
                                          : std::string("the head or the loss");
  return fmt::format("the first numbers that are not finite are those of {}", what);
}

at::Tensor TrainingStep::run_shards(const std::vector<std::int64_t>& batch, std::int64_t step, double divisor) {
  at::Tensor loss;
  for (int shard = first_shard_; shard < first_shard_ + shards_of_rank_; ++shard) {
    if (shard_gradients_.defined()) parameters_.set_gradients(shard_gradients_[shard - first_shard_]);
    for (model::Parameter* parameter : parameters_.parameters) parameter->begin_step();
    if (shard == 0 && hooks_ != nullptr) add(loss, run_loss_term());
    add(loss, run_shard(share(batch, shard), step, shard, divisor));
    // An empty share, or a parameter that no example reached.
    clear_unwritten();
  }
  return loss;
}

void TrainingStep::clear_unwritten() {
  for (model::Parameter* parameter : parameters_.parameters) {
    if (!parameter->written()) parameter->clear_gradient();
  }
}

void TrainingStep::reduce_tables() {
  table_bytes_ = 0;
  if (context_.gradients.size() == 1) return;
  for (const std::size_t i : parameters_.tables) {
    model::Parameter& table = *parameters_.parameters[i];
    std::vector<std::int64_t> all;
    if (!table.gradient_rows()) {
      all.resize(static_cast<std::size_t>(table.gradient().size(0)));
      std::iota(all.begin(), all.end(), 0);
    }
    auto reduced = dist::all_reduce_rows(context_.gradients, table.gradient(),
                                         table.gradient_rows() ? *table.gradient_rows() : all, options_.reduce_format);
    table.set_gradient_rows(std::move(reduced.rows));
    table_bytes_ += reduced.bytes;
  }
}

at::Tensor TrainingStep::run_loss_term() {
  const auto term = hooks_->loss_term();
  if (!term.defined()) return {};
  last_backward_ = false;  // what is ready now is not yet complete
  torch::autograd::backward({term}, {});
  return term.detach().to(at::kDouble);
}

at::Tensor TrainingStep::run_shard(const std::vector<std::int64_t>& ids, std::int64_t step, int shard, double divisor) {
  const auto count = static_cast<std::int64_t>(ids.size());
  const std::int64_t micro =
      options_.micro_batch_size > 0 ? options_.micro_batch_size : std::max<std::int64_t>(1, count);
  // Micro-batches of a shard draw from one stream after the other.
  model::ForwardContext forward({options_.seed, static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(shard)},
                                first_trainable_stage_);
  forward.matmul_type = context_.matmul_type;
  at::Tensor sum;
  for (std::int64_t begin = 0; begin < count; begin += micro) {
    const std::int64_t end = std::min(begin + micro, count);
    const std::vector<std::int64_t> part(ids.begin() + begin, ids.begin() + end);
    const auto tokens = examples_.collate(part, context_.device);
    const auto targets = examples_.collate_targets(part, context_.device);
    const auto logits = cache_ == nullptr ? classifier_.forward(tokens, forward)
                                          : classifier_.forward_from(
                                                first_trainable_stage_,
                                                cache_->features(classifier_, examples_, part, tokens, context_, flop_),
                                                tokens, forward);
    const auto loss = objective_.loss_sum(logits, targets, loss_) / divisor;
    last_backward_ = end == count;
    torch::autograd::backward({loss}, {});
    add(sum, loss.detach().to(at::kDouble));
  }
  flop_.add(forward.flop());
  return sum;
}

}  // namespace dtrain::train
