#include "study/page/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/log.h"
#include "peft/registry.h"
#include "study/findings/advice.h"
#include "study/findings/words.h"
#include "study/report/tables.h"

namespace dtrain::study::page {
namespace {

// "fine-tune MiniLM on wordnet with 300 labelled examples".
std::string purpose(const StudyPlan& plan, std::int64_t samples) {
  return fmt::format("fine-tune {} on {} with {} labelled examples", plan.model, plan.task, count_text(samples));
}

std::string mean_of(const Report& report, const std::string& method, std::int64_t samples) {
  const std::string& metric = report.plan.metric;
  return mean_text(metric, report.findings.cell(method, samples)->metrics.at("test").at(metric));
}

std::string score_text(const Report& report, const std::string& method, std::int64_t samples) {
  return fmt::format("{} {}", mean_of(report, method, samples), metric_words(report.plan.metric));
}

// The other that most probably is better by more than the margin.
std::optional<std::size_t> rival_of(const CountDecision& count, std::size_t method) {
  std::optional<std::size_t> rival;
  double largest = 0;
  for (std::size_t other = 0; other < count.contest.candidates().size(); ++other) {
    if (other == method) continue;
    const auto& difference = count.contest.difference(method, other);
    const double probability = difference ? difference->probability_below(-count.contest.margin()) : 0;
    if (probability > largest) {
      largest = probability;
      rival = other;
    }
  }
  return rival;
}

// Only a method that others can beat can be held against them.
std::string probability_sentence(const StudyPlan& plan, const CountDecision& count, std::size_t method) {
  const double probability = count.decision.methods[method].within_margin;
  if (std::isnan(probability)) return "";
  const auto rival = rival_of(count, method);
  // High, and still not shown.
  const bool asks_for_more = count.contest.level() < kLevel && probability > 1 - kLevel &&
                             count.decision.methods[method].standing == Standing::undecided;
  return fmt::format(" The probability that {} loses no more than {} points of {} to {} is {}{}.",
                     count.candidate(method).method, points(plan.margin), metric_words(plan.metric),
                     rival ? count.candidate(*rival).method + ", the rival that is hardest to rule out," : "any other",
                     probability_text(probability),
                     asks_for_more ? fmt::format("; {:g} % are asked for where seeds were added, over all methods",
                                                 100 * (1 - count.contest.level()))
                                   : "");
}

// "the highest of 3 methods", and who has it, too.
std::string rank_text(const StudyPlan& plan, const CountDecision& count, std::size_t method) {
  const auto others = count.leaders_beside(method);
  return fmt::format(
      "the {} of {} methods{}", best_word(plan.metric), count.contest.candidates().size(),
      others.empty() ? "" : fmt::format(" (which {} reach{}, too)", listed(others), others.size() == 1 ? "es" : ""));
}

Answer shown(const Report& report, const CountDecision& count) {
  const StudyPlan& plan = report.plan;
  const Decision& decision = count.decision;
  const std::string& method = count.candidate(*decision.advised).method;
  const std::string margin = points(plan.margin);
  Answer answer{method, true, "", "", "", "", ""};
  if (count.is_alone(*decision.advised)) {
    answer.sentence =
        fmt::format("Take {} to {}: {}, and it reaches {} on the test set.", method, purpose(plan, count.samples),
                    no_rival_text(plan, count), score_text(report, method, count.samples));
    answer.certainty =
        "How sure: it is compared with none. A method that collapsed did no better than always giving one answer, with "
        "any seed; one with fewer than two results cannot be compared.";
    answer.certainty_in_short = "no rival";
    return answer;
  }
  const auto leaders = count.leaders_beside(*decision.advised);
  const std::string why =
      is_tie(count.candidate(*decision.advised).mean, count.candidate(*decision.best).mean)
          ? fmt::format(
                "it reaches {} on the test set, {}, and no cheaper method is shown to come within {} points of it",
                score_text(report, method, count.samples), rank_text(plan, count, *decision.advised), margin)
          : fmt::format(
                "it is the cheapest of the methods shown to be within {} points of the best, with {} on the test "
                "set ({}, which ha{} the {}: {})",
                margin, score_text(report, method, count.samples), listed(leaders), leaders.size() == 1 ? "s" : "ve",
                best_word(plan.metric), mean_of(report, count.candidate(*decision.best).method, count.samples));
  answer.sentence = fmt::format("Take {} to {}: {}.", method, purpose(plan, count.samples), why);
  answer.certainty = fmt::format(
      "How sure: this is shown, not guessed. By the rule that is used here, at most 5 of 100 studies name, for a "
      "number of examples, a method that is truly worse than another by more than {} points.{}",
      margin, probability_sentence(plan, count, *decision.advised));
  if (!decision.open.empty()) answer.certainty += " " + undecided_text(plan, count);
  answer.certainty_in_short = decision.open.empty() ? "shown" : "shown; a cheaper one may do as well";
  return answer;
}

Answer guessed(const Report& report, const CountDecision& count) {
  const StudyPlan& plan = report.plan;
  const std::size_t best = *count.decision.best;
  const std::string& method = count.candidate(best).method;
  Answer answer{method, false, "", "", "", "", ""};
  answer.sentence = fmt::format(
      "The best guess is {}, but this study does not settle which method is best to {}: {} reaches {} on the test set, "
      "{}.",
      method, purpose(plan, count.samples), method, score_text(report, method, count.samples),
      rank_text(plan, count, best));
  answer.certainty =
      fmt::format("How sure: not yet.{} {}", probability_sentence(plan, count, best), undecided_text(plan, count));
  const double probability = count.decision.methods[best].within_margin;
  answer.certainty_in_short = std::isnan(probability) ? "best guess" : "best guess, " + probability_text(probability);
  return answer;
}

std::string meaning_of(const Report& report, const Cell& cell) {
  const auto plan = std::find_if(report.plan.methods.begin(), report.plan.methods.end(),
                                 [&](const MethodPlan& candidate) { return candidate.method.text() == cell.method; });
  const auto& kind = peft::method_kind(plan->method.name);
  std::string text = fmt::format("What {} is: {}{}; {} parameters train.", cell.method, kind.summary,
                                 kind.paper.empty() ? "" : fmt::format(" ({})", kind.paper),
                                 count_text(cell.cost.trainable_parameters));
  if (cell.at_low_edge || cell.at_high_edge)
    text += fmt::format(" Its learning rate, {}: a better one may lie beyond (--lrs).", edge_text(cell));
  return text + " To train with it on your data:";
}

}  // namespace

Answer answer_at(const Report& report, std::int64_t samples) {
  const CountDecision* count = report.findings.decision(samples);
  if (count != nullptr && count->decision.taken()) {
    Answer answer = count->decision.advised ? shown(report, *count) : guessed(report, *count);
    const Cell& cell = *report.findings.cell(answer.take, samples);
    answer.meaning = meaning_of(report, cell);
    answer.command = fmt::format("dtrain train --method {} --lr {}{} --train FILE --output DIR", cell.method,
                                 rate_text(*cell.learning_rate), report.training_options);
    return answer;
  }
  Answer answer;
  answer.sentence = fmt::format("There is no answer yet on how to {}.", purpose(report.plan, samples));
  answer.certainty = count != nullptr ? advice_text(report.plan, report.findings, *count)
                                      : no_advice_text(report.plan, report.findings, samples);
  answer.certainty_in_short = "no answer";
  return answer;
}

Table alternatives(const Report& report, std::int64_t samples) {
  const StudyPlan& plan = report.plan;
  Table table;
  const CountDecision* count = report.findings.decision(samples);
  if (count == nullptr || !count->decision.taken()) return table;
  const std::size_t taken = *count->decision.taken();
  table.header = {"instead",
                  fmt::format("{} on test", metric_words(plan.metric)),
                  "seeds",
                  fmt::format("points lost against {}", count->candidate(taken).method),
                  "95 % interval",
                  "shown",
                  fmt::format("chance to lose no more than {}", points(plan.margin)),
                  "training",
                  "finding its learning rate",
                  "stored"};
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < count->contest.candidates().size(); ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t left, std::size_t right) {
    if ((left == taken) != (right == taken)) return left == taken;
    return count->candidate(left).mean > count->candidate(right).mean;
  });
  const double seconds = count->candidate(taken).train_seconds;
  for (const std::size_t i : order) {
    const Candidate& candidate = count->candidate(i);
    const Cell& cell = *report.findings.cell(candidate.method, samples);
    const auto& loss = count->contest.difference(taken, i);
    std::string training = duration_text(candidate.train_seconds);
    if (i != taken && seconds > 0 && candidate.train_seconds > 0)
      training += fmt::format(" (× {:.2g})", candidate.train_seconds / seconds);
    std::vector<std::string> row = {i == taken ? candidate.method + " (the answer)" : candidate.method,
                                    mean_of(report, candidate.method, samples), seeds_text(plan, cell)};
    const auto pair = report.findings.compare("test", samples, count->candidate(taken).method, candidate.method);
    if (i == taken || !loss || !pair) {
      row.insert(row.end(), {"", "", "", ""});
    } else {
      row.insert(row.end(),
                 {points(loss->mean), interval_points(*loss, plan.metric), shown_text(loss->p_value(), pair->shown()),
                  candidate.collapsed ? "collapsed" : probability_text(loss->probability_below(plan.margin))});
    }
    row.insert(row.end(), {training, cell.search_seconds > 0 ? duration_text(cell.search_seconds) : "not searched",
                           bytes_text(static_cast<double>(cell.cost.stored_bytes))});
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table answers_by_count(const Report& report) {
  Table table{{"labelled examples", "take", "learning rate", "how sure", metric_words(report.plan.metric) + " on test",
               "training"},
              {}};
  for (const Verdict& verdict : report.verdicts) {
    const Answer answer = answer_at(report, verdict.samples);
    if (answer.take.empty()) {
      table.rows.push_back({count_text(verdict.samples), "nothing yet", "", answer.certainty_in_short, "", ""});
      continue;
    }
    const Cell& cell = *report.findings.cell(answer.take, verdict.samples);
    table.rows.push_back({count_text(verdict.samples), answer.take, rate_text(*cell.learning_rate),
                          answer.certainty_in_short, mean_of(report, answer.take, verdict.samples),
                          duration_text(cell.cost.train_seconds)});
  }
  return table;
}

std::string elsewhere(const Report& report, std::int64_t samples) {
  const CountDecision* count = report.findings.decision(samples);
  if (count == nullptr || !count->decision.taken()) return "";
  return constant_answers_text(report.plan, report.findings, samples) +
         out_of_domain_text(report.plan, report.findings, *count);
}

std::string unfinished(const Report& report) {
  const Progress progress = report.progress();
  return progress.finished >= progress.planned
             ? ""
             : fmt::format("{} of {} trials finished", progress.finished, progress.planned);
}

}  // namespace dtrain::study::page
