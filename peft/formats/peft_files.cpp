#include "peft/formats/peft_files.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/atomic_file.h"
#include "model/formats/safetensors.h"
#include "peft/adapter_config.h"
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
    auto tensors = float_tensors(tensor_file());
    // With bias = all PEFT writes the biases of the head under these names, too.
    std::erase_if(tensors, [](const auto& tensor) {
      const std::string& name = tensor.first;
      return name.ends_with(".bias") && (name.find(".modules_to_save.") != std::string::npos ||
                                         name.find(".original_module.") != std::string::npos);
    });
    return tensors;
  }

  MethodSpec method(model::Classifier& classifier) const override {
    if (config_.value<std::string>("task_type", "SEQ_CLS") != "SEQ_CLS") {
      config_.refuse("task_type", "expected SEQ_CLS, the classification of whole texts, which is all that dtrain does");
    }
    const MethodSpec spec = peft_method_kind(config_).read_peft(config_, classifier);
    config_.refuse_unread();
    return spec;
  }

  std::vector<std::string> notices() const override { return config_.notices(); }

 private:
  fs::path directory_;
  AdapterConfig config_;
};

void write(const TrainedAdapter& adapter, const fs::path& directory) {
  model::write_safetensors(directory / kTensors.safetensors, adapter.method.saved_tensors(adapter.classifier),
                           {{"format", "pt"}});
  const nlohmann::json config = adapter.method.adapter_config(adapter.classifier, adapter.base_model);
  write_file_atomically(directory / kConfig, config.dump(2) + "\n");
}

}  // namespace

AdapterLayout peft_layout() {
  return {.format = AdapterFormat::peft,
          .is_in = [](const fs::path& directory) { return fs::exists(directory / kConfig); },
          .open = [](const fs::path& directory) -> std::unique_ptr<AdapterFiles> {
            return std::make_unique<PeftFiles>(directory);
          },
          .write = write};
}

}  // namespace dtrain::peft
