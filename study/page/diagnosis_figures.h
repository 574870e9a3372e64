#pragma once

#include <string>
#include <vector>

#include "study/diagnosis/diagnosis.h"
#include "study/page/html.h"

namespace dtrain::study::page {

/// Of a diagnosis: from the head as asked to full fine-tuning choice by choice, and what each method reaches of it; and
/// the probes by layer.
std::vector<Figure> diagnosis_figures(const Diagnosis& diagnosis);

/// The probes by layer as a file of its own (diagnose.svg).
std::string probe_svg(const Diagnosis& diagnosis);

}  // namespace dtrain::study::page
