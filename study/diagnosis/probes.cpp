#include "study/diagnosis/probes.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <tuple>

#include "study/diagnosis/logistic_regression.h"

namespace dtrain::study {
namespace {

// Rises of dev's log-loss in a row that end the path: it falls to its lowest and rises from there, but for the noise of
// few examples.
constexpr int kRises = 2;

constexpr double kRounding = 1e-6;

// Of the solutions on the path, which only have to tell which penalty is best: that one is solved to the end. It is
// several times as fast.
constexpr double kPathTolerance = 1e-4;

// Features as the solver takes them, in the units that train has.
class Standardised {
 public:
  explicit Standardised(const at::Tensor& train)
      : mean_(train.to(at::kDouble).mean(0)), deviation_(train.to(at::kDouble).std(0, /*unbiased=*/false)) {
    // What varies no more than a float rounds is constant and says nothing: the first token's embedding, for one.
    deviation_.masked_fill_(deviation_ <= kRounding * mean_.abs(), 1);
  }
  at::Tensor operator()(const at::Tensor& features) const {
    return features.to(at::kDouble).sub(mean_).div_(deviation_);
  }

 private:
  at::Tensor mean_;
  at::Tensor deviation_;
};

double mean_log_loss(const at::Tensor& logits, const at::Tensor& labels) {
  return -at::log_softmax(logits, 1).gather(1, labels.unsqueeze(1)).mean().item<double>();
}

at::Tensor right(const at::Tensor& logits, const at::Tensor& labels) {
  return (logits.argmax(1) == labels).to(at::kDouble);
}

}  // namespace

std::vector<double> probe_penalties() {
  std::vector<double> penalties;
  for (int half = 2; half >= -16; --half) penalties.push_back(std::pow(10.0, half / 2.0));
  return penalties;
}

Probe fit_probe(const ProbeSet& train, const ProbeSet& dev, const ProbeSet& test) {
  const at::NoGradGuard no_grad;
  for (const ProbeSet* set : {&train, &dev, &test}) {
    if (set->labels.size(0) == 0) throw std::invalid_argument("fit_probe: a set without examples");
  }
  const auto seen = std::get<0>(at::_unique(train.labels));
  const std::int64_t classes = seen.size(0);
  // The place of a label among the classes that train has; `classes` for the others, which is no answer.
  const auto place_of = [&](const at::Tensor& labels) {
    const auto places = at::searchsorted(seen, labels).clamp_max(classes - 1);
    return at::where(seen.index_select(0, places) == labels, places, at::full_like(places, classes));
  };
  const Standardised standardised(train.features);
  const auto train_features = standardised(train.features);
  const auto train_labels = place_of(train.labels);
  const auto dev_features = standardised(dev.features);
  const auto dev_labels = place_of(dev.labels);
  const auto known = (dev_labels < classes).nonzero().squeeze(1);

  Probe best;
  best.dev_log_loss = std::numeric_limits<double>::infinity();
  LogisticRegression chosen;
  LogisticRegression last;
  int rises = 0;
  std::int64_t evaluations = 0;
  const auto penalties = probe_penalties();
  for (const double l2 : penalties) {
    last = fit_logistic_regression(train_features, train_labels, classes, l2, last.weight.defined() ? &last : nullptr,
                                   kPathTolerance);
    evaluations += last.evaluations;
    const auto logits = last.logits(dev_features);
    const double loss = mean_log_loss(logits.index_select(0, known), dev_labels.index_select(0, known));
    // Not a number (dev shares no class with train): nothing chooses, and the strongest penalty stays.
    if (chosen.weight.defined() && !(loss < best.dev_log_loss)) {
      if (++rises == kRises) break;
      continue;
    }
    rises = 0;
    chosen = last;
    best.dev_log_loss = loss;
  }
  chosen = fit_logistic_regression(train_features, train_labels, classes, chosen.l2, &chosen);
  evaluations += chosen.evaluations;
  const auto dev_logits = chosen.logits(dev_features);
  best.dev_log_loss = mean_log_loss(dev_logits.index_select(0, known), dev_labels.index_select(0, known));
  best.dev_accuracy = right(dev_logits, dev_labels).mean().item<double>();
  best.l2 = chosen.l2;
  best.at_edge = chosen.l2 == penalties.front() || chosen.l2 == penalties.back();
  best.gradient = chosen.gradient;
  best.evaluations = evaluations;
  best.train_log_loss = mean_log_loss(chosen.logits(train_features), train_labels);
  const auto scores = right(chosen.logits(standardised(test.features)), place_of(test.labels)).contiguous();
  const auto* values = scores.const_data_ptr<double>();
  best.test_scores.assign(values, values + scores.numel());
  best.test_accuracy = scores.mean().item<double>();
  return best;
}

}  // namespace dtrain::study
