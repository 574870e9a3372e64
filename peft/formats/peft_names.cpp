#include "peft/formats/peft_names.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace dtrain::peft {
namespace {

using Parts = std::vector<std::string>;

// What wraps a module whose own name comes after it.
constexpr std::array kWrappers = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"};

// How PEFT calls what its methods add; where it is in memory, the adapter's name comes after it.
constexpr std::array kAdded = {"lora_",
                               "ia3_",
                               "vera_",
                               "hada_",
                               "lokr_",
                               "oft_",
                               "boft_",
                               "hra_",
                               "randlora_",
                               "fourierft_",
                               "ln_tuning_layers",
                               "modules_to_save"};

constexpr const char* kCopy = "modules_to_save";
constexpr const char* kOriginal = ".original_module.";

bool is_wrapper(const std::string& part) {
  return std::find(kWrappers.begin(), kWrappers.end(), part) != kWrappers.end();
}

bool is_added(const std::string& part) {
  return std::any_of(kAdded.begin(), kAdded.end(), [&](const char* start) { return part.starts_with(start); });
}

Parts split(const std::string& name) {
  Parts parts(1);
  for (const char letter : name) {
    if (letter == '.') {
      parts.emplace_back();
    } else {
      parts.back() += letter;
    }
  }
  return parts;
}

// With bias = all PEFT writes the biases of the head a second time, as they are called in memory.
bool has_copy(const std::map<std::string, at::Tensor>& tensors, const std::string& name) {
  const std::string part = fmt::format(".{}.", kCopy);
  const std::size_t place = name.find(part);
  if (place == std::string::npos) return false;
  const auto found = tensors.find(name.substr(0, place) + name.substr(place + part.size() - 1));
  return found != tensors.end() && at::equal(found->second, tensors.at(name));
}

}  // namespace

std::string peft_name(const std::string& name) {
  Parts parts = split(name);
  std::erase_if(parts, is_wrapper);
  const Parts twice = {"base_model", "model", "base_model", "model"};
  while (parts.size() > twice.size() && std::equal(twice.begin(), twice.end(), parts.begin())) {
    parts.erase(parts.begin(), parts.begin() + 2);
  }
  Parts kept;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool is_adapter = i > 0 && is_added(parts[i - 1]) && parts[i] != "weight" && parts[i] != "bias";
    if (!is_adapter && parts[i] != kCopy) kept.push_back(parts[i]);
  }
  // DoRA's vector is a module in memory alone.
  if (kept.size() > 1 && kept[kept.size() - 2] == "lora_magnitude_vector") kept.pop_back();
  return fmt::format("{}", fmt::join(kept, "."));
}

std::map<std::string, at::Tensor> under_peft_names(const std::map<std::string, at::Tensor>& tensors,
                                                   const std::filesystem::path& file,
                                                   std::vector<std::string>& notices) {
  std::map<std::string, at::Tensor> named;
  std::map<std::string, std::string> names;
  bool is_said = false;
  for (const auto& [name, tensor] : tensors) {
    if (name.find(kOriginal) != std::string::npos || has_copy(tensors, name)) continue;
    const std::string ours = peft_name(name);
    const auto [found, is_new] = named.try_emplace(ours, tensor);
    if (!is_new && !at::equal(found->second, tensor)) {
      throw InputError(
          fmt::format("{}: tensors '{}' and '{}' are both '{}', and differ", file.string(), names[ours], name, ours));
    }
    names.try_emplace(ours, name);
    if (ours == name || is_said) continue;
    notices.push_back(fmt::format("{}: tensor '{}' is read as '{}', and others alike", file.string(), name, ours));
    is_said = true;
  }
  return named;
}

}  // namespace dtrain::peft
