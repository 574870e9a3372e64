#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "model/encoder_config.h"
#include "model/forward_context.h"
#include "model/linear.h"
#include "model/norm.h"
#include "model/slots.h"
#include "model/token_batch.h"

namespace dtrain::model {

/// The paths of a layer's modules below its own, as a family of Hugging Face models calls them.
struct LayerModules {
  std::string query;
  std::string key;
  std::string value;
  std::string attention_output;
  std::string attention_norm;
  std::string intermediate;
  std::string output;
  std::string output_norm;
};

/// A layer of a post-norm Transformer encoder (Vaswani et al., 2017), with a slot at each place where a method can plug
/// in: the linear layers have their own.
class EncoderLayer {
 public:
  /// With undefined values, until they are loaded.
  EncoderLayer(const EncoderConfig& config, const std::string& path, const LayerModules& modules);

  /// [tokens, hidden] -> [tokens, hidden].
  at::Tensor forward(const at::Tensor& hidden, const TokenBatch& batch, ForwardContext& context);

  /// In the order of the Hugging Face model's modules.
  std::vector<Linear*> linears();
  std::vector<LayerNorm*> norms() { return {&attention_norm, &output_norm}; }
  /// Without the slots'.
  std::vector<Parameter*> own_parameters();
  /// The slots'.
  std::vector<Parameter*> added_parameters();

  Linear query;
  Linear key;
  Linear value;
  Linear attention_output;
  LayerNorm attention_norm;
  Linear intermediate;
  Linear output;
  LayerNorm output_norm;

  std::unique_ptr<AttentionSlot> attention_slot;
  /// After the self-attention.
  std::unique_ptr<SublayerSlot> attention_output_slot;
  /// After the feed-forward network.
  std::unique_ptr<SublayerSlot> output_slot;

 private:
  at::Tensor activated(const at::Tensor& input) const;

  std::int64_t heads_;
  double hidden_dropout_;
  double attention_output_dropout_;
  double attention_dropout_;
  std::string activation_;
};

}  // namespace dtrain::model
