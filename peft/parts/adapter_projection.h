#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/forward_context.h"
#include "model/parameter.h"

namespace dtrain::peft {

/// One of the two linear layers of a bottleneck adapter.
class AdapterProjection {
 public:
  virtual ~AdapterProjection() = default;
  /// [n, in] -> [n, out]: scale * (its own output) + `addend` [n, out], where that is given. bfloat16 where
  /// the context's matmuls are.
  virtual at::Tensor forward(const at::Tensor& input, model::ForwardContext& context, double scale = 1,
                             const at::Tensor& addend = {}) = 0;
  virtual std::vector<model::Parameter*> parameters() = 0;
};

/// How adapter-hub's init_weights draws a plain linear layer: "bert" (normal), "mam_adapter" (He et al., 2022: as
/// torch.nn.Linear going down, zero going up) or "houlsby" (truncated normal).
at::Tensor draw_adapter_weight(const std::string& init_weights, bool up, std::int64_t in, std::int64_t out,
                               at::Generator& generator);

/// torch.nn.Linear with that weight and a bias of zero, of the type and device of `like`.
std::unique_ptr<AdapterProjection> make_linear_projection(const std::string& path, const at::Tensor& weight,
                                                          const at::Tensor& like);

/// The settings of a hypercomplex linear layer, under adapter-hub's names.
struct PhmConfig {
  std::int64_t phm_dim = 4;
  std::int64_t phm_rank = 1;
  bool phm_bias = true;
  bool factorized_phm_W = true;
  bool shared_phm_rule = true;
  bool factorized_phm_rule = false;
  double phm_init_range = 1e-4;
};

/// The matrices that say how the blocks of a hypercomplex linear layer are multiplied: phm_rule [n, n, n], or its
/// factors phm_rule_left [n, n, 1] and phm_rule_right [n, 1, n].
class PhmRule {
 public:
  /// Drawn with `deviation`.
  PhmRule(const std::string& path, const PhmConfig& config, double deviation, const at::Tensor& like,
          at::Generator& generator);
  /// [n, n, n].
  at::Tensor matrices(model::ForwardContext& context);
  std::vector<model::Parameter*> parameters();

 private:
  std::vector<std::unique_ptr<model::Parameter>> factors_;
};

/// A parametrized hypercomplex linear layer (Zhang et al., 2021, ICLR): x H + b with H = sum_i kron(rule_i, W_i), W_i
/// of low rank in Compacter (Karimi Mahabadi et al., 2021, NeurIPS). `rule` is another's; without one the linear layer
/// has its own. Throws UsageError where phm_dim does not divide `in` and `out`.
std::unique_ptr<AdapterProjection> make_phm_projection(const std::string& path, const PhmConfig& config,
                                                       std::shared_ptr<PhmRule> rule, std::int64_t in, std::int64_t out,
                                                       const at::Tensor& like, at::Generator& generator);

}  // namespace dtrain::peft
