#include "model/bert.h"

#include <ATen/ATen.h>

#include "model/attention.h"
#include "model/dropout.h"
#include "model/embedding.h"
#include "model/norm.h"

namespace dtrain::model {
namespace {

struct BertLayer {
  BertLayer(const EncoderConfig& config, const std::string& path)
      : query(path + ".attention.self.query", config.hidden_size, config.hidden_size),
        key(path + ".attention.self.key", config.hidden_size, config.hidden_size),
        value(path + ".attention.self.value", config.hidden_size, config.hidden_size),
        attention_output(path + ".attention.output.dense", config.hidden_size, config.hidden_size),
        attention_norm(path + ".attention.output.LayerNorm", config.layer_norm_epsilon),
        intermediate(path + ".intermediate.dense", config.hidden_size, config.intermediate_size),
        output(path + ".output.dense", config.intermediate_size, config.hidden_size),
        output_norm(path + ".output.LayerNorm", config.layer_norm_epsilon) {}

  std::vector<Linear*> linears() { return {&query, &key, &value, &attention_output, &intermediate, &output}; }

  std::vector<Parameter*> parameters() {
    return {&query.weight,
            &query.bias,
            &key.weight,
            &key.bias,
            &value.weight,
            &value.bias,
            &attention_output.weight,
            &attention_output.bias,
            &attention_norm.weight,
            &attention_norm.bias,
            &intermediate.weight,
            &intermediate.bias,
            &output.weight,
            &output.bias,
            &output_norm.weight,
            &output_norm.bias};
  }

  Linear query;
  Linear key;
  Linear value;
  Linear attention_output;
  LayerNorm attention_norm;
  Linear intermediate;
  Linear output;
  LayerNorm output_norm;
};

class Bert final : public Encoder {
 public:
  explicit Bert(const EncoderConfig& config)
      : config_(config), norm_("bert.embeddings.LayerNorm", config.layer_norm_epsilon) {
    words_.set_name("bert.embeddings.word_embeddings.weight");
    positions_.set_name("bert.embeddings.position_embeddings.weight");
    types_.set_name("bert.embeddings.token_type_embeddings.weight");
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      layers_.push_back(std::make_unique<BertLayer>(config, "bert.encoder.layer." + std::to_string(layer)));
    }
  }

  int layers() const override { return static_cast<int>(layers_.size()); }

  at::Tensor embed(const TokenBatch& batch, ForwardContext& context) override {
    // A model of one token type does not tell the segments of a pair apart.
    TokenBatch typed = batch;
    if (config_.token_types == 1) typed.types = at::zeros_like(batch.types);
    const auto sum = embed_tokens(typed, words_, positions_, types_);
    // BERT drops after this norm, not before it.
    const auto normalized = norm_.forward(sum, {}, {});
    return dropout(normalized, context.next_dropout(config_.hidden_dropout));
  }

  at::Tensor run_layer(int index, const at::Tensor& hidden, const TokenBatch& batch, ForwardContext& context) override {
    BertLayer& layer = *layers_[static_cast<std::size_t>(index)];
    const auto query = layer.query.forward(hidden, context);
    const auto key = layer.key.forward(hidden, context);
    const auto value = layer.value.forward(hidden, context);
    const auto attended =
        attention(query, key, value, batch, config_.heads, context.next_dropout(config_.attention_dropout));
    const auto attention_output = layer.attention_output.forward(attended, context);
    const auto middle =
        layer.attention_norm.forward(attention_output, hidden, context.next_dropout(config_.hidden_dropout));
    const auto expanded = activated(layer.intermediate.forward(middle, context));
    const auto output = layer.output.forward(expanded, context);
    return layer.output_norm.forward(output, middle, context.next_dropout(config_.hidden_dropout));
  }

  std::vector<Linear*> layer_linears(int layer) override { return layers_[static_cast<std::size_t>(layer)]->linears(); }
  std::vector<Parameter*> embedding_parameters() override {
    return {&words_, &positions_, &types_, &norm_.weight, &norm_.bias};
  }
  std::vector<Parameter*> layer_parameters(int layer) override {
    return layers_[static_cast<std::size_t>(layer)]->parameters();
  }

  std::vector<std::vector<std::int64_t>> shapes() const override {
    const std::int64_t hidden = config_.hidden_size;
    const std::int64_t wide = config_.intermediate_size;
    std::vector<std::vector<std::int64_t>> shapes = {{config_.vocabulary_size, hidden},
                                                     {config_.max_positions, hidden},
                                                     {config_.token_types, hidden},
                                                     {hidden},
                                                     {hidden}};
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      for (int attention_map = 0; attention_map < 4; ++attention_map) {
        shapes.push_back({hidden, hidden});
        shapes.push_back({hidden});
      }
      shapes.insert(shapes.end(),
                    {{hidden}, {hidden}, {wide, hidden}, {wide}, {hidden, wide}, {hidden}, {hidden}, {hidden}});
    }
    return shapes;
  }

 private:
  at::Tensor activated(const at::Tensor& input) const {
    if (config_.activation == "relu") return at::relu(input);
    return at::gelu(input, config_.activation == "gelu_new" ? "tanh" : "none");
  }

  EncoderConfig config_;
  Parameter words_;
  Parameter positions_;
  Parameter types_;
  LayerNorm norm_;
  std::vector<std::unique_ptr<BertLayer>> layers_;
};

}  // namespace

std::unique_ptr<Encoder> make_bert(const EncoderConfig& config) { return std::make_unique<Bert>(config); }

}  // namespace dtrain::model
