// An adapter's directory, of any layout, read onto a small model.

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>

#include "base/log.h"
#include "model/classifier.h"
#include "model/encoder_config.h"
#include "model/formats/classifier_files.h"
#include "peft/formats/trained_model.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/torch_archive.h"

namespace {

using namespace dtrain;

// A BERT of two layers, eight numbers wide.
const fuzz::fs::path& base_model() {
  static const fuzz::fs::path directory = [] {
    auto path = fuzz::scratch() / "base";
    fuzz::write(path / "config.json",
                R"({"model_type": "bert", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2,
                    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64})");
    model::Classifier classifier(model::read_encoder_config(path), model::Pooling::pooler, 2);
    for (model::Parameter* parameter : classifier.stored_parameters()) {
      parameter->set_value(at::linspace(-1, 1, c10::multiply_integers(parameter->shape())).view(parameter->shape()));
    }
    model::save_classifier(classifier, {"no", "yes"}, path);
    return path;
  }();
  return directory;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto& base = base_model();
  const auto directory = fuzz::scratch() / "adapter";
  fuzz::unpack(fuzz::text_of(data, size),
               {"adapter_config.json", "dtrain.json", "head_config.json", "adapter_model.safetensors",
                "adapter.safetensors", "model_head.safetensors", "weights.safetensors", "adapter_model.bin",
                "pytorch_adapter.bin", "pytorch_model_head.bin"},
               directory);
  fuzz::pack_torch_files(directory);
  fuzz::read_or_refuse([&] {
    const auto trained = peft::load_trained(directory, base, {}, at::kCPU, Log());
    fuzz::require(static_cast<std::int64_t>(trained.labels.size()) == trained.classifier->classes(), "a name a class");
  });
  return 0;
}
