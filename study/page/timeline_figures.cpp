#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/log.h"
#include "study/figures/timeline.h"
#include "study/findings/words.h"
#include "study/page/study_figures.h"

namespace dtrain::study::page {

std::vector<Figure> timeline_figures(const Report& report) {
  figures::Timeline timeline;
  int groups = 1;
  double begin = std::numeric_limits<double>::infinity();  // of the first trial: steps are measured before
  double end = 0;
  double busy = 0;
  for (const auto& [key, trial] : report.finished) {
    const auto& [kind, outcome] = trial;
    groups = std::max(groups, outcome.group + 1);
    begin = std::min(begin, outcome.started);
    end = std::max(end, outcome.started + outcome.seconds);
    busy += outcome.seconds;
    const bool search = kind.phase == Trial::Phase::search;
    timeline.spans.push_back(
        {static_cast<std::size_t>(std::max(outcome.group, 0)), outcome.started, outcome.started + outcome.seconds,
         style_of(report.plan, kind.method), search,
         fmt::format("{}, {} samples, learning rate {}, seed {}{}: {}{}", kind.method, count_text(kind.samples),
                     rate_text(kind.learning_rate), kind.seed, search ? " (search)" : "",
                     duration_text(outcome.seconds), outcome.failed() ? ", failed" : ""),
         kind.method});
  }
  // Trials that took more than the time there was: when they began was not noted down.
  if (timeline.spans.empty() || busy > 1.01 * end * groups) return {};
  for (int group = 0; group < groups; ++group) timeline.lanes.push_back(fmt::format("group {}", group));
  const bool searched =
      std::any_of(timeline.spans.begin(), timeline.spans.end(), [](const figures::Span& span) { return span.pale; });
  for (std::size_t i = 0; i < report.plan.methods.size(); ++i)
    timeline.kinds.push_back({report.plan.methods[i].method.text(), i, false});
  if (searched) timeline.kinds.push_back({"(pale: search)", 0, true});
  const double scale = end > 10800 ? 3600 : end > 180 ? 60 : 1;
  for (figures::Span& span : timeline.spans) {
    span.begin /= scale;
    span.end /= scale;
  }
  const double idle = std::max(0.0, 1 - busy / ((end - begin) * groups));
  timeline.title = "Which group of ranks ran what when";
  timeline.description =
      fmt::format("{} trials on {} group{} of ranks in {}, idle for {:.0f} % of the time from the first on.",
                  timeline.spans.size(), groups, groups == 1 ? "" : "s", duration_text(end), 100 * idle);
  timeline.axis = fmt::format("{} since the study began", scale == 1 ? "seconds" : scale == 60 ? "minutes" : "hours");
  return {
      {"The study as it ran",
       fmt::format("{} A row is a group of ranks, a box a trial; what is empty is idle time.", timeline.description),
       [timeline](const std::string& id) { return figures::svg(timeline, id); }, true}};
}

}  // namespace dtrain::study::page
