#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/classifier.h"
#include "peft/parts/prompt_learning.h"

namespace dtrain::peft {

/// The keys and values of a prefix (Li and Liang, 2021, ACL), for several layers at once: an embedding of the virtual
/// tokens, or what two linear layers with tanh between them make of it. Computed once a forward pass, in the first of
/// the layers.
class PrefixEncoder {
 public:
  /// How its parameters are called.
  struct Names {
    std::string embedding = kPromptEmbedding;
    std::string first_linear = "prompt_encoder.transform.0";
    std::string second_linear = "prompt_encoder.transform.2";
  };

  /// `layers`: those with a prefix. `projection_size`: the width between the two linear layers; unset: no linear
  /// layers.
  PrefixEncoder(std::int64_t virtual_tokens, std::int64_t layers, std::int64_t hidden_size,
                std::optional<std::int64_t> projection_size, const Names& names, const at::TensorOptions& options,
                at::Generator& generator);

  /// [virtual tokens, 2 * layers * hidden]: of each layer the keys, then the values.
  at::Tensor keys_and_values(model::ForwardContext& context);
  /// Those of layer `index` for `examples` examples alike. The layers ask in their order, each once a forward pass.
  model::KeysAndValues of_layer(std::int64_t index, std::int64_t examples, model::ForwardContext& context);

  std::vector<model::Parameter*> parameters();

 private:
  std::int64_t layers_;
  std::int64_t hidden_size_;
  model::Parameter embedding_;
  std::unique_ptr<PromptLinear> first_linear_;
  std::unique_ptr<PromptLinear> second_linear_;
  std::vector<at::Tensor> current_;  // of the forward pass that is under way: [virtual tokens, hidden] each
};

/// A layer's part of a prefix. The first layer's has the parameters.
class PrefixSlot : public model::AttentionSlot {
 public:
  PrefixSlot(std::shared_ptr<PrefixEncoder> encoder, std::int64_t index)
      : encoder_(std::move(encoder)), index_(index) {}

  model::KeysAndValues keys_and_values(const at::Tensor& hidden, const model::TokenBatch& batch,
                                       model::ForwardContext& context) override;
  std::vector<model::Parameter*> parameters() override;
  PrefixEncoder& encoder() const { return *encoder_; }

 private:
  std::shared_ptr<PrefixEncoder> encoder_;
  std::int64_t index_;
};

}  // namespace dtrain::peft
