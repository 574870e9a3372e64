#include "study/probe_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "study/words.h"

namespace dtrain::study {
namespace {

constexpr double kWidth = 640, kHeight = 360, kLeft = 56, kRight = 150, kTop = 16, kBottom = 44;

struct Style {
  const char* colour;
  const char* dash;
};
// By pooling: cls, mean, pooler.
Style style_of(model::Pooling pooling) {
  if (pooling == model::Pooling::mean) return {"#0072b2", ""};
  if (pooling == model::Pooling::cls) return {"#d55e00", "7 3"};
  return {"#009e73", "2 3"};
}

class Drawing {
 public:
  Drawing(int layers, double low, double high) : layers_(layers), low_(low), high_(high) {}

  double x(double layer) const { return kLeft + (kWidth - kLeft - kRight) * layer / std::max(1, layers_); }
  double y(double share) const { return kTop + (kHeight - kTop - kBottom) * (high_ - share) / (high_ - low_); }

  void text(double at_x, double at_y, const char* anchor, const std::string& content) {
    body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", at_x, at_y, anchor, content);
  }
  void line(double x1, double y1, double x2, double y2, const Style& style, double width) {
    body_ += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" stroke-width=\"{}\" "
        "stroke-dasharray=\"{}\"/>\n",
        x1, y1, x2, y2, style.colour, width, style.dash);
  }
  void curve(const std::vector<std::pair<double, double>>& points_of_it, const Style& style) {
    std::string path;
    for (const auto& [px, py] : points_of_it) {
      path += fmt::format("{:.1f},{:.1f} ", px, py);
      body_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", px, py, style.colour);
    }
    body_ += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>\n", path,
        style.colour, style.dash);
  }
  std::string document(const std::string& alternative) const {
    return fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" font-family=\"sans-serif\" "
        "font-size=\"12\">\n<title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{}</svg>\n",
        kWidth, kHeight, alternative, body_);
  }

 private:
  int layers_;
  double low_;
  double high_;
  std::string body_;
};

}  // namespace

std::string probe_figure(const Diagnosis& diagnosis) {
  const DiagnosisRow& asked = diagnosis.row("asked");
  const DiagnosisRow& full = diagnosis.row("full");
  double low = std::min(asked.accuracy.value, full.accuracy.value);
  double high = std::max(asked.accuracy.value, full.accuracy.value);
  for (const StageProbe& probe : diagnosis.probes) {
    low = std::min(low, probe.probe.test_accuracy);
    high = std::max(high, probe.probe.test_accuracy);
  }
  low = std::floor(low * 10 - 0.05) / 10;
  high = std::ceil(high * 10 + 0.05) / 10;
  Drawing drawing(diagnosis.layers, low, high);
  const Style grid{"#dddddd", ""};
  for (int tick = static_cast<int>(std::lround(low * 10)); tick <= std::lround(high * 10); ++tick) {
    drawing.line(kLeft, drawing.y(tick / 10.0), kWidth - kRight, drawing.y(tick / 10.0), grid, 1);
    drawing.text(kLeft - 6, drawing.y(tick / 10.0) + 4, "end", std::to_string(10 * tick));
  }
  const int step = std::max(1, (diagnosis.layers + 11) / 12);
  for (int stage = 0; stage <= diagnosis.layers; stage += step)
    drawing.text(drawing.x(stage), kHeight - kBottom + 18, "middle", std::to_string(stage));
  drawing.text((kLeft + kWidth - kRight) / 2, kHeight - 8, "middle", "layer (0: embeddings); test accuracy in %");

  std::vector<std::pair<double, std::string>> labels;
  std::string alternative = "Test accuracy of linear probes by layer.";
  for (const model::Pooling pooling : {model::Pooling::mean, model::Pooling::cls, model::Pooling::pooler}) {
    std::vector<std::pair<double, double>> curve;
    std::string last;
    for (const StageProbe& probe : diagnosis.probes) {
      if (probe.pooling != pooling) continue;
      curve.emplace_back(drawing.x(probe.stage), drawing.y(probe.probe.test_accuracy));
      last = points(probe.probe.test_accuracy);
    }
    if (curve.empty()) continue;
    drawing.curve(curve, style_of(pooling));
    labels.emplace_back(curve.back().second, fmt::format("probe, {}", pooling_name(pooling)));
    alternative += fmt::format(" {}: {} % at the last layer.", pooling_name(pooling), last);
  }
  for (const auto& [row, name] : {std::pair(&full, "full fine-tuning"), std::pair(&asked, "head as asked")}) {
    const double at = drawing.y(row->accuracy.value);
    drawing.line(kLeft, at, kWidth - kRight, at, {"#333333", row == &full ? "" : "1 4"}, 1.5);
    labels.emplace_back(at, name);
    alternative += fmt::format(" {}: {} %.", name, points(row->accuracy.value));
  }
  // Names at the right end, none over another.
  std::sort(labels.begin(), labels.end());
  double below = 0;
  for (const auto& [at, name] : labels) {
    const double place = std::max(at + 4, below + 14);
    drawing.text(kWidth - kRight + 8, place, "start", name);
    below = place;
  }
  return drawing.document(alternative);
}

}  // namespace dtrain::study
