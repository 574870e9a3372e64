#include "train/class_counts.h"

#include <cmath>

namespace dtrain::train {

void ClassCounts::add(std::size_t true_class, std::size_t predicted_class) {
  ++truth[true_class];
  ++predicted[predicted_class];
  ++total;
  if (true_class != predicted_class) return;
  ++hits[true_class];
  ++correct;
}

LabelMetrics ClassCounts::of_class(std::size_t index) const {
  return label_metrics(hits[index], predicted[index], truth[index]);
}

double ClassCounts::accuracy() const { return ratio(correct, total); }

double ClassCounts::balanced_accuracy() const {
  double recalls = 0, occurring = 0;
  for (std::size_t c = 0; c < truth.size(); ++c) {
    if (truth[c] == 0) continue;
    recalls += of_class(c).recall;
    ++occurring;
  }
  return ratio(recalls, occurring);
}

double ClassCounts::macro_f1() const {
  double sum = 0, seen = 0;
  for (std::size_t c = 0; c < truth.size(); ++c) {
    if (!is_seen(c)) continue;
    sum += of_class(c).f1;
    ++seen;
  }
  return ratio(sum, seen);
}

double ClassCounts::weighted_f1() const {
  double sum = 0;
  for (std::size_t c = 0; c < truth.size(); ++c) sum += of_class(c).f1 * truth[c];
  return ratio(sum, total);
}

double ClassCounts::matthews() const {
  double chance = 0, truth_squares = 0, predicted_squares = 0;
  for (std::size_t c = 0; c < truth.size(); ++c) {
    chance += truth[c] * predicted[c];
    truth_squares += truth[c] * truth[c];
    predicted_squares += predicted[c] * predicted[c];
  }
  const double spread = (total * total - truth_squares) * (total * total - predicted_squares);
  return spread > 0 ? (correct * total - chance) / std::sqrt(spread) : 0;
}

}  // namespace dtrain::train
