#include "peft/formats/adapter_hub.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "model/formats/safetensors.h"
#include "peft/adapter_config.h"
#include "peft/parts/adapter_hub_config.h"
#include "peft/registry.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kHeadConfig = "head_config.json";

constexpr TensorFile kAdapterTensors = {"adapter.safetensors", "pytorch_adapter.bin"};
constexpr TensorFile kHeadTensors = {"model_head.safetensors", "pytorch_model_head.bin"};

// What the package said "gelu" for, before its files said a version.
void update_activation(json& config) {
  const auto found = config.find("non_linearity");
  if (found == config.end()) return;
  if (*found == "gelu") {
    *found = "gelu_new";
  } else if (*found == "gelu_orig") {
    *found = "gelu";
  }
}

// The name with ours in the place of `adapter`, the adapter's own.
std::string renamed(std::string name, const std::string& adapter) {
  for (const char* holder : {"adapters.", "loras.", "prefix_tunings.", "prefix_gates.", "shared_parameters."}) {
    const std::string before = fmt::format("{}{}.", holder, adapter);
    const std::size_t found = name.find(before);
    if (found != std::string::npos) name.replace(found, before.size(), fmt::format("{}{}.", holder, kAdapterName));
  }
  return name;
}

// A second name for what is there under another.
bool is_alias(const std::string& name) {
  return name.find(".prefix_tuning.pool.") != std::string::npos ||
         name.find(".adapter_norm_before.") != std::string::npos;
}

class AdapterHubFiles final : public AdapterFiles {
 public:
  explicit AdapterHubFiles(const fs::path& directory) : directory_(directory), outer_(directory / kConfig) {}

  fs::path base_model() const override { return outer_.value<std::string>("model_name", ""); }

  std::vector<std::string> labels() const override {
    if (!fs::exists(directory_ / kHeadConfig)) return {};
    const AdapterConfig head(directory_ / kHeadConfig);
    const auto ids = head.value("label2id", std::map<std::string, std::int64_t>{});
    std::map<std::int64_t, std::string> names;
    for (const auto& [name, id] : ids) names[id] = name;
    std::vector<std::string> labels;
    for (const auto& [id, name] : names) labels.push_back(name);
    return labels;
  }

  fs::path tensor_file() const override { return kAdapterTensors.in(directory_); }

  std::map<std::string, at::Tensor> tensors(const model::Family& family) const override {
    const auto adapter = outer_.value<std::string>("name", "");
    const auto head = kHeadTensors.in(directory_);
    if (!fs::exists(head)) {
      throw InputError(
          fmt::format("{}: there is no {}; an adapter without its trained classifier would score at random",
                      directory_.string(), kHeadTensors.safetensors));
    }
    std::map<std::string, at::Tensor> tensors;
    for (auto& [name, tensor] : float_tensors(tensor_file())) {
      if (is_alias(name)) continue;
      const auto full = renamed(name, adapter);
      tensors[full.starts_with(family.prefix) ? full : family.prefix + full] = tensor;
    }
    for (auto& [name, tensor] : float_tensors(head)) tensors[name] = tensor;
    return tensors;
  }

  MethodSpec method(model::Classifier&) const override {
    notices_.clear();
    check(outer_, adapter_hub_file_keys());
    if (fs::exists(directory_ / kHeadConfig)) check(AdapterConfig(directory_ / kHeadConfig), adapter_hub_head_keys());
    json inner = outer_.value("config", json::object());
    if (!outer_.json().contains("version")) update_activation(inner);
    const AdapterConfig config(directory_ / kConfig, inner);
    const auto architecture = config.value<std::string>("architecture", kBottleneckArchitecture);
    std::set<std::string> known;
    for (const MethodKind& kind : method_kinds()) {
      if (kind.read_adapter_hub == nullptr) continue;
      known.insert(kind.adapter_hub_architecture);
      if (kind.adapter_hub_architecture != architecture) continue;
      check(config, kind.adapter_hub_keys);
      const MethodSpec spec = kind.read_adapter_hub(config);
      config.check_reads(kind.adapter_hub_keys, kind.adapter_hub_keys);
      return spec;
    }
    config.refuse("architecture",
                  fmt::format("not supported in adapter-hub's format; expected one of {}", fmt::join(known, ", ")));
  }

  std::vector<std::string> notices() const override { return notices_; }

 private:
  void check(const AdapterConfig& config, const FileKeys& known) const {
    config.refuse_others(known);
    notices_.insert(notices_.end(), config.notices().begin(), config.notices().end());
  }

  fs::path directory_;
  AdapterConfig outer_;
  mutable std::vector<std::string> notices_;
};

bool is_in(const fs::path& directory) {
  return fs::exists(directory / kConfig) && read_json_object(directory / kConfig).contains("config");
}

void write_adapter_hub(const TrainedAdapter& adapter, const fs::path& directory) {
  auto& classifier = adapter.classifier;
  std::set<std::string> head_names;
  for (const model::Linear* linear : {&classifier.classifier, &classifier.dense}) {
    head_names.insert({linear->weight.name(), linear->bias.name()});
  }
  NamedTensors body;
  NamedTensors head;
  for (const auto& named : adapter.method.saved_tensors(classifier)) {
    (head_names.count(named.first) > 0 ? head : body).push_back(named);
  }
  model::write_safetensors(directory / kAdapterTensors.safetensors, body);
  model::write_safetensors(directory / kHeadTensors.safetensors, head);
  json head_config = adapter_hub_model(classifier, adapter.base_model);
  head_config.update({{"config", nullptr}, {"name", nullptr}, {"num_labels", adapter.labels.size()}});
  for (std::size_t id = 0; id < adapter.labels.size(); ++id) head_config["label2id"][adapter.labels[id]] = id;
  write_file_atomically(directory / kHeadConfig, json_text(head_config, 2) + "\n");
  const json config = adapter.method.adapter_config(classifier, adapter.base_model);
  write_file_atomically(directory / kConfig, json_text(config, 2) + "\n");
}

}  // namespace

AdapterLayout adapter_hub_layout() {
  return {.format = AdapterFormat::adapter_hub,
          .is_in = is_in,
          .open = [](const fs::path& directory) -> std::unique_ptr<AdapterFiles> {
            return std::make_unique<AdapterHubFiles>(directory);
          },
          .write = write_adapter_hub};
}

}  // namespace dtrain::peft
