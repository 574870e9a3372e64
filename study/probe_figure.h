#pragma once

#include <string>

#include "study/diagnosis.h"

namespace dtrain::study {

/// The probes' test accuracy by layer, a line for each pooling, beside the head as asked and full fine-tuning: a whole
/// SVG document, told apart without colour, with a text alternative.
std::string probe_figure(const Diagnosis& diagnosis);

}  // namespace dtrain::study
