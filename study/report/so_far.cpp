#include "study/report/so_far.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/log.h"
#include "base/table.h"
#include "study/findings/words.h"
#include "study/report/tables.h"
#include "train/objective.h"

namespace dtrain::study {
namespace {

bool has_results(const Cell& cell) { return cell.ended > 0; }

double mean_on_test(const StudyPlan& plan, const Cell& cell) { return cell.metrics.at("test").at(plan.metric).mean; }

double merit(const StudyPlan& plan, const Cell& cell) { return train::merit(plan.metric, mean_on_test(plan, cell)); }

}  // namespace

std::string best_so_far(const StudyPlan& plan, const Findings& findings) {
  const Cell* best = nullptr;
  for (const Cell& cell : findings.cells) {
    if (!has_results(cell)) continue;
    if (best == nullptr || cell.samples > best->samples ||
        (cell.samples == best->samples && merit(plan, cell) > merit(plan, *best)))
      best = &cell;
  }
  if (best == nullptr) return "";
  return fmt::format("best so far {} {} at {}", best->method, value_text(plan.metric, mean_on_test(plan, *best)),
                     count_text(best->samples));
}

std::string table_so_far(const StudyPlan& plan, const Findings& findings) {
  Findings with_results;
  std::copy_if(findings.cells.begin(), findings.cells.end(), std::back_inserter(with_results.cells), has_results);
  return with_results.cells.empty() ? "" : terminal_table(quality_table(plan, with_results));
}

}  // namespace dtrain::study
