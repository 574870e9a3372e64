#include "peft/formats/combination.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/listing.h"
#include "base/nearest_name.h"
#include "base/random.h"
#include "peft/parts/lora_slot.h"
#include "peft/registry.h"

namespace dtrain::peft {
namespace {

using TensorList = std::vector<at::Tensor>;

// Keeps the `density` share of the elements that are largest in magnitude.
at::Tensor pruned(const at::Tensor& tensor, double density) {
  if (density >= 1) return tensor;
  const auto kept = static_cast<std::int64_t>(density * static_cast<double>(tensor.numel()));
  const auto flat = tensor.flatten();
  const auto places = std::get<1>(flat.abs().topk(kept));
  return at::zeros_like(flat).index_copy(0, places, flat.index_select(0, places)).view(tensor.sizes());
}

// Keeps a random share of the elements, scaled so that the mean stays.
at::Tensor dropped(const at::Tensor& tensor, double density, at::Generator& generator) {
  if (density >= 1) return tensor;
  return tensor * at::empty_like(tensor).bernoulli_(density, generator) / density;
}

at::Tensor weighted_sum(const TensorList& tensors, const std::vector<double>& weights) {
  auto sum = at::zeros_like(tensors.front());
  for (std::size_t i = 0; i < tensors.size(); ++i) sum.add_(tensors[i], weights[i]);
  return sum;
}

// The mean of those elements whose sign is the sign of the sum.
at::Tensor elected(const TensorList& tensors, const std::vector<double>& weights) {
  const auto majority = at::where(at::stack(tensors).sum(0) >= 0, 1.0, -1.0);
  auto sum = at::zeros_like(tensors.front());
  auto count = at::zeros_like(tensors.front());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto agrees = (tensors[i].sign() == majority).to(sum.scalar_type());
    sum.add_(tensors[i] * agrees, weights[i]);
    count.add_(agrees);
  }
  return sum / count.clamp_min(1);
}

at::Tensor combined(TensorList tensors, const std::vector<double>& weights, const Combination& combination,
                    at::Generator& generator) {
  const std::string& how = combination.how;
  const bool drops = how.starts_with("dare");
  if (drops || how == "ties" || how == "magnitude_prune") {
    for (at::Tensor& tensor : tensors) {
      tensor = drops ? dropped(tensor, combination.density, generator) : pruned(tensor, combination.density);
    }
  }
  return how.ends_with("ties") ? elected(tensors, weights) : weighted_sum(tensors, weights);
}

LoraSlot* lora_slot_of(model::Linear& linear) { return dynamic_cast<LoraSlot*>(linear.slot.get()); }

// Which linear layers a LoRA is on, by its settings.
constexpr std::array kTargets = {"target_modules", "exclude_modules", "layers_to_transform"};

// What else of a model a LoRA may train, by its settings.
constexpr std::array kTrainedBeside = {"bias", "modules_to_save"};

std::string setting(const TrainedModel& adapter, const std::string& key) {
  const MethodKind& kind = method_kind(adapter.method.name);
  return MethodSettings(kind.name, kind.settings, adapter.method.settings).text(key);
}

bool same_word_embeddings(const TrainedModel& left, const TrainedModel& right) {
  if (!left.classifier->has_own_word_embeddings() && !right.classifier->has_own_word_embeddings()) return true;
  const auto words = [](const TrainedModel& adapter) {
    return adapter.classifier->encoder().embedding_parameters().front()->value();
  };
  return at::equal(words(left), words(right));
}

void check(const std::vector<TrainedModel>& adapters, const Combination& combination) {
  const auto& names = combination_names();
  if (std::find(names.begin(), names.end(), combination.how) == names.end()) {
    throw UsageError(fmt::format("--how: expected one of {}, found '{}'{}", fmt::join(names, ", "), combination.how,
                                 did_you_mean(combination.how, names)));
  }
  if (combination.weights.size() != adapters.size()) {
    throw UsageError(fmt::format("--weights: expected a number for each of the {} adapters, found {}", adapters.size(),
                                 combination.weights.size()));
  }
  const TrainedModel& first = adapters.front();
  for (const TrainedModel& adapter : adapters) {
    if (adapter.method.name != "lora") {
      throw UsageError(
          fmt::format("--adapters: only adapters of lora can be combined, found {}", adapter.method.text()));
    }
    if (adapter.labels != first.labels) {
      throw UsageError(fmt::format("--adapters: their classes differ: {} and {}", capped_list(first.labels),
                                   capped_list(adapter.labels)));
    }
    if (adapter.classifier->problem_type != first.classifier->problem_type) {
      throw UsageError(fmt::format("--adapters: their outputs differ: {} and {} (--problem-type says what all are)",
                                   problem_type_name(first.classifier->problem_type),
                                   problem_type_name(adapter.classifier->problem_type)));
    }
    if (adapter.base_model != first.base_model) {
      throw UsageError(fmt::format("--adapters: their base models differ: {} and {}", first.base_model.string(),
                                   adapter.base_model.string()));
    }
    if (!same_tokenizer(adapter.tokenizer, first.tokenizer)) {
      throw UsageError(fmt::format("--adapters: their tokenizers differ: {} and {}", first.tokenizer.string(),
                                   adapter.tokenizer.string()));
    }
    for (const char* key : kTrainedBeside) {
      if (setting(adapter, key) == setting(first, key)) continue;
      throw UsageError(fmt::format("--adapters: {} differs: '{}' and '{}'; what one has not trained has no mean", key,
                                   setting(first, key), setting(adapter, key)));
    }
    if (!same_word_embeddings(adapter, first)) {
      throw UsageError("--adapters: their word embeddings differ: one of them has its own, of a resized vocabulary");
    }
    for (model::Linear* linear : adapter.classifier->linears()) {
      const LoraSlot* slot = lora_slot_of(*linear);
      if (slot != nullptr && (slot->update().dora || slot->update().bias || slot->changed_base())) {
        throw UsageError("--adapters: use_dora, lora_bias and init_lora_weights=pissa or olora cannot be combined");
      }
    }
  }
}

// What the adapters do to one linear layer.
struct Updates {
  TensorList a;
  TensorList b;
  std::vector<double> scales;
  std::vector<double> weights;
};

std::map<std::string, Updates> updates_by_path(const std::vector<TrainedModel>& adapters,
                                               const std::vector<double>& weights) {
  std::map<std::string, Updates> all;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    for (model::Linear* linear : adapters[i].classifier->linears()) {
      const LoraSlot* slot = lora_slot_of(*linear);
      if (slot == nullptr) continue;
      Updates& updates = all[linear->path()];
      updates.a.push_back(slot->a().value());
      updates.b.push_back(slot->b().value());
      updates.scales.push_back(slot->update().scale);
      updates.weights.push_back(weights[i]);
    }
  }
  return all;
}

// Of the combination. As in PEFT, svd gives all linear layers the largest that there is.
std::map<std::string, std::int64_t> ranks_by_path(const std::map<std::string, Updates>& updates,
                                                  const Combination& combination) {
  std::map<std::string, std::int64_t> ranks;
  std::int64_t largest = 0;
  for (const auto& [path, update] : updates) {
    ranks[path] = update.a.front().size(0);
    for (const at::Tensor& a : update.a) {
      largest = std::max(largest, a.size(0));
      if (combination.how == "svd" || a.size(0) == ranks[path]) continue;
      throw UsageError(fmt::format("--adapters: their ranks differ: {} and {} at {}; --how svd combines them",
                                   ranks[path], a.size(0), path));
    }
  }
  if (combination.how == "svd") {
    for (auto& [path, rank] : ranks) rank = largest;
  }
  return ranks;
}

// A [r, in] and B [out, r] of the combination, whose scale is 1.
std::pair<at::Tensor, at::Tensor> factors(const Updates& updates, std::int64_t r, const Combination& combination,
                                          at::Generator& generator) {
  if (combination.how == "svd") {
    TensorList changes;
    for (std::size_t i = 0; i < updates.a.size(); ++i) {
      changes.push_back(at::mm(updates.b[i], updates.a[i]) * updates.scales[i]);
    }
    const auto [u, s, vh] = at::linalg_svd(weighted_sum(changes, updates.weights), /*full_matrices=*/false);
    return {vh.slice(0, 0, r).contiguous(), (u.slice(1, 0, r) * s.slice(0, 0, r)).contiguous()};
  }
  // PEFT's split of a weight between the two factors.
  std::vector<double> of_a;
  std::vector<double> of_b;
  for (std::size_t i = 0; i < updates.a.size(); ++i) {
    const double weight = updates.weights[i] * updates.scales[i];
    of_b.push_back(std::sqrt(std::abs(weight)));
    of_a.push_back(weight < 0 ? -of_b.back() : of_b.back());
  }
  auto a = combined(updates.a, of_a, combination, generator);
  return {std::move(a), combined(updates.b, of_b, combination, generator)};
}

}  // namespace

const std::vector<std::string>& combination_names() {
  static const std::vector<std::string> names = {"linear",          "ties", "dare", "dare_linear", "dare_ties",
                                                 "magnitude_prune", "svd"};
  return names;
}

TrainedModel combine_adapters(std::vector<TrainedModel> adapters, const Combination& combination) {
  const at::NoGradGuard no_grad;
  check(adapters, combination);
  const auto updates = updates_by_path(adapters, combination.weights);
  const auto ranks = ranks_by_path(updates, combination);
  std::int64_t r = 0;
  std::vector<std::string> paths;
  for (const auto& [path, rank] : ranks) {
    paths.push_back(path);
    r = std::max(r, rank);
  }

  TrainedModel& first = adapters.front();
  const double total = std::accumulate(combination.weights.begin(), combination.weights.end(), 0.0);
  if (total == 0) throw UsageError("--weights: their sum is zero, which leaves no head");
  // What trains in a plain adapter and is no update: the head, and biases.
  std::map<std::string, at::Tensor> means;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    for (const auto& [name, parameter] : trained_parameters(*adapters[i].classifier)) {
      if (name.find(".lora_") != std::string::npos) continue;
      const auto part = parameter->value() * (combination.weights[i] / total);
      const auto [found, is_new] = means.try_emplace(name, part);
      if (!is_new) found->second = found->second + part;
    }
  }
  for (model::Linear* linear : first.classifier->linears()) linear->slot.reset();
  for (const auto& [name, parameter] : trained_parameters(*first.classifier)) parameter->set_value(means.at(name));

  MethodSpec spec{"lora", {{"r", std::to_string(r)}, {"lora_alpha", std::to_string(r)}}};
  const bool alike = std::all_of(kTargets.begin(), kTargets.end(), [&](const char* key) {
    return std::all_of(adapters.begin(), adapters.end(),
                       [&](const TrainedModel& adapter) { return setting(adapter, key) == setting(first, key); });
  });
  if (alike) {
    for (const char* key : kTargets) spec.settings[key] = setting(first, key);
  } else {
    spec.settings["target_modules"] = fmt::format("{}", fmt::join(paths, "+"));
  }
  for (const char* key : kTrainedBeside) spec.settings[key] = setting(first, key);
  std::vector<std::string> others;
  for (const auto& [path, rank] : ranks) {
    if (rank != r) others.push_back(fmt::format("{}~{}", path, rank));
  }
  if (!others.empty()) {
    // Of both, so that every scale is 1.
    for (const char* key : {"rank_pattern", "alpha_pattern"}) {
      spec.settings[key] = fmt::format("{}", fmt::join(others, "+"));
    }
  }
  make_method(spec)->attach(*first.classifier, {});
  auto generator = at::detail::createCPUGenerator(stream_seed(combination.seed, Purpose::combination));
  for (model::Linear* linear : first.classifier->linears()) {
    LoraSlot* slot = lora_slot_of(*linear);
    if (slot == nullptr) continue;
    const auto [a, b] = factors(updates.at(linear->path()), r, combination, generator);
    slot->parameters()[0]->set_value(a);
    slot->parameters()[1]->set_value(b);
  }
  first.method = spec;
  return std::move(first);
}

}  // namespace dtrain::peft
