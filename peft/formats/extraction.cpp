#include "peft/formats/extraction.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "model/sums.h"
#include "peft/parts/lora_slot.h"
#include "peft/registry.h"

namespace dtrain::peft {

Extraction extract_lora(model::Classifier& tuned, model::Classifier& base, const MethodSpec& lora) {
  const at::NoGradGuard no_grad;
  if (lora.name != "lora")
    throw UsageError(fmt::format("--method: expected lora and its settings, found {}", lora.text()));
  for (const char* key : {"use_dora", "init_lora_weights", "lora_bias"}) {
    if (lora.settings.count(key) > 0) throw UsageError(fmt::format("--method: {} has no part in an extraction", key));
  }
  std::map<std::string, const model::Parameter*> found;
  for (const model::Parameter* parameter : tuned.parameters()) found[parameter->name()] = parameter;
  make_method(lora)->attach(base, {});
  Extraction extraction;
  const auto change_of = [&](const model::Parameter& parameter) {
    const auto after = found.find(parameter.name());
    if (after == found.end() || after->second->value().sizes() != parameter.value().sizes()) {
      throw UsageError(fmt::format("the fine-tuned model has no '{}' of the base model's shape; are they of one model?",
                                   parameter.name()));
    }
    return after->second->value() - parameter.value();
  };
  std::map<const model::Parameter*, bool> expressed;
  for (model::Linear* linear : base.linears()) {
    auto* slot = dynamic_cast<LoraSlot*>(linear->slot.get());
    if (slot == nullptr) continue;
    if (slot->update().scale == 0) {
      throw UsageError("--method: lora_alpha is 0, which no update can make up for; expected more in an extraction");
    }
    const auto change = change_of(linear->weight).to(at::kDouble);
    const auto [u, s, vh] = at::linalg_svd(change, /*full_matrices=*/false);
    const std::int64_t r = std::min<std::int64_t>(slot->update().r, s.size(0));
    const auto root = (s.slice(0, 0, r) / slot->update().scale).sqrt();
    const auto options = linear->weight.value().options();
    auto a = at::zeros({slot->update().r, linear->in_features()}, options);
    auto b = at::zeros({linear->out_features(), slot->update().r}, options);
    a.slice(0, 0, r).copy_(root.unsqueeze(1) * vh.slice(0, 0, r));
    b.slice(1, 0, r).copy_(u.slice(1, 0, r) * root);
    slot->parameters()[0]->set_value(a);
    slot->parameters()[1]->set_value(b);
    extraction.linears.push_back({linear->path(), s.norm().item<double>(), s.slice(0, r).norm().item<double>()});
    expressed[&linear->weight] = true;
  }
  for (model::Parameter* parameter : base.parameters()) {
    if (expressed.count(parameter) > 0 || parameter->name().find(".lora_") != std::string::npos) continue;
    const auto change = change_of(*parameter);
    if (parameter->trainable()) {
      parameter->set_value(found.at(parameter->name())->value().clone());
    } else if (const double norm = model::euclidean_norm(change.cpu().contiguous()); norm > 0) {
      extraction.left_out.emplace_back(parameter->name(), norm);
    }
  }
  return extraction;
}

}  // namespace dtrain::peft
