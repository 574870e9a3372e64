#include "peft/formats/adapter_files.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "model/formats/safetensors.h"
#include "model/formats/torch_file.h"
#include "peft/adapter_config.h"
#include "peft/formats/adapter_hub.h"
#include "peft/formats/peft_files.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlainTensors = "weights.safetensors";

// dtrain's own: what trained, under the Hugging Face model's names.
class PlainFiles final : public AdapterFiles {
 public:
  explicit PlainFiles(const fs::path& directory) : directory_(directory), description_(directory / kDescriptionFile) {}

  fs::path base_model() const override { return description_.value<std::string>("base_model", ""); }
  fs::path tensor_file() const override { return directory_ / kPlainTensors; }
  std::map<std::string, at::Tensor> tensors(const model::Family&) const override {
    return float_tensors(tensor_file());
  }
  MethodSpec method(model::Classifier&) const override {
    return parse_method_spec(description_.value<std::string>("method", ""));
  }

 private:
  fs::path directory_;
  AdapterConfig description_;
};

AdapterLayout plain_layout() {
  return {.format = AdapterFormat::plain,
          .is_in = [](const fs::path& directory) { return fs::exists(directory / kDescriptionFile); },
          .open = [](const fs::path& directory) -> std::unique_ptr<AdapterFiles> {
            return std::make_unique<PlainFiles>(directory);
          },
          .write =
              [](const TrainedAdapter& adapter, const fs::path& directory) {
                model::write_safetensors(directory / kPlainTensors, adapter.method.saved_tensors(adapter.classifier),
                                         {{"format", "pt"}});
              }};
}

}  // namespace

const std::vector<AdapterLayout>& adapter_layouts() {
  // dtrain.json lies beside adapters of every layout, and adapter-hub's configuration has the name of PEFT's.
  static const std::vector<AdapterLayout> layouts = {adapter_hub_layout(), peft_layout(), plain_layout()};
  return layouts;
}

std::unique_ptr<AdapterFiles> open_adapter(const fs::path& directory) {
  for (const AdapterLayout& layout : adapter_layouts()) {
    if (layout.is_in(directory)) return layout.open(directory);
  }
  return nullptr;
}

void write_adapter(const TrainedAdapter& adapter, const fs::path& directory) {
  const auto& layouts = adapter_layouts();
  const auto layout = std::find_if(layouts.begin(), layouts.end(), [&](const AdapterLayout& each) {
    return each.format == adapter.method.format(adapter.classifier);
  });
  layout->write(adapter, directory);
}

fs::path TensorFile::in(const fs::path& directory) const {
  const bool old = !fs::exists(directory / safetensors) && fs::exists(directory / torch);
  return directory / (old ? torch : safetensors);
}

std::map<std::string, at::Tensor> float_tensors(const fs::path& path) {
  if (path.extension() == ".bin") {
    auto tensors = model::read_torch_file(path);
    for (auto& [name, tensor] : tensors) {
      tensor = tensor.to(at::kFloat);
      model::require_finite(tensor, name, path);
    }
    return tensors;
  }
  const model::SafetensorsFile file(path);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& name : file.names()) tensors[name] = file.float_tensor(name, file.shape(name));
  return tensors;
}

}  // namespace dtrain::peft
