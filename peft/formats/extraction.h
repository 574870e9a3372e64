#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/classifier.h"
#include "peft/method.h"

namespace dtrain::peft {

/// How much of a linear layer's change an extracted adapter leaves out.
struct ExtractedLinear {
  std::string path;
  /// Frobenius norms of the change of its weight and of what rank r cannot express of it.
  double change = 0;
  double error = 0;
};

struct Extraction {
  std::vector<ExtractedLinear> linears;
  /// Parameters that changed and that the adapter does not hold: their names and the norms of their changes.
  std::vector<std::pair<std::string, double>> left_out;
};

/// Gives `base`, a copy of the model that `tuned` was fine-tuned from, the LoRA that is closest to what changed: for
/// each linear layer that `lora` wraps the truncated singular value decomposition of the difference (Eckart and Young,
/// 1936), with the tuned head, and the tuned biases where its setting `bias` says so. Throws UsageError where the two
/// models have other shapes.
Extraction extract_lora(model::Classifier& tuned, model::Classifier& base, const MethodSpec& lora);

}  // namespace dtrain::peft
