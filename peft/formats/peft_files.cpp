#include "peft/formats/peft_files.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/atomic_file.h"
#include "base/json_file.h"
#include "model/formats/safetensors.h"
#include "peft/adapter_config.h"
#include "peft/formats/peft_names.h"
#include "peft/registry.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "adapter_config.json";
constexpr TensorFile kTensors = {"adapter_model.safetensors", "adapter_model.bin"};

class PeftFiles final : public AdapterFiles {
 public:
  explicit PeftFiles(const fs::path& directory) : directory_(directory), config_(directory / kConfig) {}

  fs::path base_model() const override { return config_.value<std::string>("base_model_name_or_path", ""); }
  fs::path tensor_file() const override { return kTensors.in(directory_); }

  std::map<std::string, at::Tensor> tensors(const model::Family&) const override {
    name_notices_.clear();
    return under_peft_names(float_tensors(tensor_file()), tensor_file(), name_notices_);
  }

  MethodSpec method(model::Classifier& classifier) const override {
    if (config_.value<std::string>("task_type", "SEQ_CLS") != "SEQ_CLS") {
      config_.refuse("task_type", "expected SEQ_CLS, the classification of whole texts, which is all that dtrain does");
    }
    const MethodKind& kind = peft_method_kind(config_);
    const FileKeys known = joined({common_peft_keys(), kind.peft_keys});
    config_.refuse_others(known);
    const MethodSpec spec = kind.read_peft(config_, classifier);
    config_.check_reads(known, kind.peft_keys);
    return spec;
  }

  std::vector<std::string> notices() const override {
    auto all = name_notices_;
    all.insert(all.end(), config_.notices().begin(), config_.notices().end());
    return all;
  }
  /// PEFT wraps a model for a task with a copy of its head; without one the base model's own stays.
  bool keeps_head() const override {
    return config_.value<std::string>("task_type", "").empty() && config_.strings("modules_to_save").empty();
  }

 private:
  fs::path directory_;
  AdapterConfig config_;
  mutable std::vector<std::string> name_notices_;
};

// Word embeddings of the adapter's own, under the prefix that the head has; PEFT saves them where it sees that the
// vocabulary was resized.
void add_word_embeddings(model::Classifier& classifier, NamedTensors& tensors) {
  if (!classifier.has_own_word_embeddings()) return;
  const model::Parameter& words = *classifier.encoder().embedding_parameters().front();
  const std::string& head = classifier.classifier.weight.name();
  std::string name = words.name();
  for (const auto& [saved, tensor] : tensors) {
    if (saved.ends_with(words.name())) return;
    if (saved.ends_with(head)) name.insert(0, saved.substr(0, saved.size() - head.size()));
  }
  tensors.emplace_back(name, words.value());
}

void write_peft(const TrainedAdapter& adapter, const fs::path& directory) {
  auto tensors = adapter.method.saved_tensors(adapter.classifier);
  add_word_embeddings(adapter.classifier, tensors);
  model::write_safetensors(directory / kTensors.safetensors, tensors, {{"format", "pt"}});
  const nlohmann::json config = adapter.method.adapter_config(adapter.classifier, adapter.base_model);
  write_file_atomically(directory / kConfig, json_text(config, 2) + "\n");
}

}  // namespace

const FileKeys& common_peft_keys() {
  static const FileKeys keys = {{"peft_type", KeyUse::heeded, "the method"},
                                {"task_type", KeyUse::heeded, "SEQ_CLS or null; others are refused"},
                                {"base_model_name_or_path", KeyUse::heeded, "the base model, where --model names none"},
                                {"auto_mapping", KeyUse::no_effect, "the Python class of the base model"},
                                {"revision", KeyUse::no_effect, "of the base model on the hub; here it is a directory"},
                                {"peft_version", KeyUse::no_effect, "the release that wrote the file"},
                                {"inference_mode", KeyUse::no_effect, "the command decides whether it trains"}};
  return keys;
}

AdapterLayout peft_layout() {
  return {.format = AdapterFormat::peft,
          .is_in = [](const fs::path& directory) { return fs::exists(directory / kConfig); },
          .open = [](const fs::path& directory) -> std::unique_ptr<AdapterFiles> {
            return std::make_unique<PeftFiles>(directory);
          },
          .write = write_peft};
}

}  // namespace dtrain::peft
