#include "peft/parts/rank_allocator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <map>
#include <string>
#include <utility>

#include "base/error.h"

namespace dtrain::peft {
namespace {

struct Importance {
  at::Tensor sensitivity;  // PEFT's exp_avg_ipt
  at::Tensor uncertainty;  // exp_avg_unc

  at::Tensor score() const { return sensitivity * uncertainty; }
};

class RankAllocator final : public TrainingHooks {
 public:
  RankAllocator(std::vector<AdaLoraSlot*> slots, const AdaLoraConfig& config, std::int64_t steps)
      : slots_(std::move(slots)), config_(config), total_step_(config.total_step.value_or(steps)) {
    if (config.tinit >= total_step_ - config.tfinal) {
      throw UsageError(
          fmt::format("method 'adalora': tinit {} and tfinal {} leave none of the {} steps to cut ranks in",
                      config.tinit, config.tfinal, total_step_));
    }
    for (AdaLoraSlot* slot : slots_) {
      slot->total_step = total_step_;
      first_budget_ += slot->e.value().numel();
    }
    last_budget_ = config.target_r * static_cast<std::int64_t>(slots_.size());
    // A trained one that goes on has lost its rows already.
    if (!config.rank_pattern.empty()) last_budget_ = std::min(last_budget_, first_budget_);
    if (config.rank_pattern.empty() && last_budget_ >= first_budget_) {
      throw UsageError(
          fmt::format("method 'adalora': target_r {} on average is not less than the {} rows of the {} linear layers",
                      config.target_r, first_budget_, slots_.size()));
    }
  }

  at::Tensor loss_term() override {
    at::Tensor sum;
    const auto add = [&](const at::Tensor& product) {
      const auto distance = at::linalg_matrix_norm(product - at::eye(product.size(0), product.options()), "fro");
      sum = sum.defined() ? sum + distance : distance;
    };
    for (AdaLoraSlot* slot : slots_) {
      const auto a = slot->a.use();
      const auto b = slot->b.use();
      add(at::mm(a, a.t()));
      add(at::mm(b.t(), b));
    }
    return sum * (config_.orth_reg_weight / (2.0 * static_cast<double>(slots_.size())));
  }

  bool reads_gradients() const override { return true; }

  void after_step(std::int64_t step) override {
    const at::NoGradGuard no_grad;
    const std::int64_t last_cut = total_step_ - config_.tfinal;
    if (step < last_cut) {
      update_importance();
      if (step > config_.tinit && step % config_.deltaT == 0) cut_to(budget(step));
    } else if (step == last_cut) {
      cut_to(budget(step));
      importance_.clear();
    } else {
      for (AdaLoraSlot* slot : slots_) cut(*slot);
    }
  }

  NamedTensors state() const override {
    NamedTensors tensors;
    for (AdaLoraSlot* slot : slots_) {
      for (const model::Parameter* parameter : slot->parameters()) {
        const auto importance = importance_.find(parameter);
        if (importance == importance_.end()) continue;
        tensors.emplace_back(parameter->name() + ".exp_avg_ipt", importance->second.sensitivity);
        tensors.emplace_back(parameter->name() + ".exp_avg_unc", importance->second.uncertainty);
      }
      if (slot->pattern.defined()) tensors.emplace_back(slot->e.name() + ".rank_pattern", slot->pattern.to(at::kFloat));
    }
    return tensors;
  }

  void restore(const NamedTensors& state) override {
    const std::map<std::string, at::Tensor> tensors(state.begin(), state.end());
    const auto find = [&](const std::string& name, const at::Tensor& like) {
      const auto found = tensors.find(name);
      if (found == tensors.end()) return at::Tensor();
      if (found->second.numel() != like.numel()) {
        throw InputError(fmt::format("checkpoint: tensor '{}': expected {} numbers, found {}", name, like.numel(),
                                     found->second.numel()));
      }
      return found->second.to(like.device());
    };
    importance_.clear();
    for (AdaLoraSlot* slot : slots_) {
      for (const model::Parameter* parameter : slot->parameters()) {
        const auto sensitivity = find(parameter->name() + ".exp_avg_ipt", parameter->value());
        const auto uncertainty = find(parameter->name() + ".exp_avg_unc", parameter->value());
        if (sensitivity.defined() && uncertainty.defined())
          importance_[parameter] = {sensitivity.clone(), uncertainty.clone()};
      }
      const auto pattern = find(slot->e.name() + ".rank_pattern", slot->e.value());
      slot->pattern = pattern.defined() ? pattern.to(at::kBool) : pattern;
    }
  }

 private:
  void update_importance() {
    for (AdaLoraSlot* slot : slots_) {
      for (const model::Parameter* parameter : slot->parameters()) {
        Importance& importance = importance_[parameter];
        if (!importance.sensitivity.defined()) {
          importance = {at::zeros_like(parameter->value()), at::zeros_like(parameter->value())};
        }
        const auto now = (parameter->value() * parameter->gradient()).abs();
        importance.sensitivity = config_.beta1 * importance.sensitivity + (1 - config_.beta1) * now;
        importance.uncertainty =
            config_.beta2 * importance.uncertainty + (1 - config_.beta2) * (now - importance.sensitivity).abs();
      }
    }
  }

  // How many rows may stay.
  std::int64_t budget(std::int64_t step) const {
    const auto all = static_cast<double>(total_step_ - config_.tfinal - config_.tinit);
    const double left = 1 - static_cast<double>(step - config_.tinit) / all;
    const auto fall = static_cast<double>(first_budget_ - last_budget_);
    return static_cast<std::int64_t>(fall * (left * left * left) + static_cast<double>(last_budget_));
  }

  void cut_to(std::int64_t rows) {
    if (rows >= first_budget_) return;
    std::vector<at::Tensor> scores;
    for (AdaLoraSlot* slot : slots_) {
      const auto of = [&](const model::Parameter& parameter) { return importance_.at(&parameter).score(); };
      scores.push_back(of(slot->e).view({-1}) + (of(slot->a).mean(1) + of(slot->b).mean(0)));
    }
    const auto least = std::get<0>(at::kthvalue(at::cat(scores), first_budget_ - rows));
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      slots_[i]->pattern = scores[i] > least;
      cut(*slots_[i]);
    }
  }

  static void cut(AdaLoraSlot& slot) {
    if (!slot.pattern.defined()) return;
    slot.e.value().masked_fill_(slot.pattern.logical_not().unsqueeze(1), 0);
    slot.e.value_changed();
  }

  std::vector<AdaLoraSlot*> slots_;
  AdaLoraConfig config_;
  std::int64_t total_step_;
  std::int64_t first_budget_ = 0;
  std::int64_t last_budget_ = 0;
  std::map<const model::Parameter*, Importance> importance_;
};

}  // namespace

std::unique_ptr<TrainingHooks> make_rank_allocator(std::vector<AdaLoraSlot*> slots, const AdaLoraConfig& config,
                                                   std::int64_t steps) {
  return std::make_unique<RankAllocator>(std::move(slots), config, steps);
}

}  // namespace dtrain::peft
