#include "study/page/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "peft/registry.h"
#include "study/figures/markup.h"
#include "study/findings/advice.h"
#include "study/findings/words.h"
#include "study/page/answer.h"
#include "study/page/diagnosis_figures.h"
#include "study/page/html.h"
#include "study/page/study_figures.h"
#include "study/report/tables.h"

namespace dtrain::study::page {
namespace {

using figures::escaped;

// One study's part of the page.
class Part {
 public:
  /// `level` of its section headings, `prefix` of their ids.
  Part(const Study& study, int level, std::string prefix, FigureNumbers& numbers)
      : study_(study), report_(*study.report), level_(level), prefix_(std::move(prefix)), numbers_(numbers) {}

  std::string text() {
    const std::string answer = opening();
    const std::string rest = sections();
    return answer + contents() + rest;
  }

 private:
  std::string opening() const {
    const std::int64_t samples = answered_samples(report_);
    const Answer answer = answer_at(report_, samples);
    std::string text;
    const std::string partial = unfinished(report_);
    if (!partial.empty()) {
      text += fmt::format(
          "<div class=\"partial\">{}</div>\n",
          paragraph(fmt::format("Partial results: {}. What follows is from those alone, and may change.", partial)));
    }
    text += fmt::format("<div class=\"answer{}\">\n{}{}{}{}{}</div>\n", answer.shown ? "" : " unsure",
                        paragraph(answer.sentence, "first"), paragraph(answer.certainty),
                        paragraph(elsewhere(report_, samples)), paragraph(answer.meaning),
                        answer.command.empty() ? "" : fmt::format("<pre>{}</pre>\n", escaped(answer.command)));
    const std::string instead = html_table(alternatives(report_, samples));
    if (!instead.empty())
      text +=
          heading(level_ + 1, "What something else would cost") + instead +
          paragraph(fmt::format("Measured with {} labelled examples on the machine below. Training is one run; in "
                                "brackets how many times as long as the answer's. Chance: the probability that taking "
                                "the method instead loses no more than {} points. Interval and chance are of this pair "
                                "alone, over the seeds that both methods ran (their difference need not be that of the "
                                "means).{}",
                                count_text(samples), points(report_.plan.margin), by_chance({samples})),
                    "small");
    const Table counts = answers_by_count(report_);
    if (counts.rows.size() > 1)
      text += heading(level_ + 1, "With fewer or more labelled examples") + html_table(counts);
    return text + paragraph(trend_text(report_.plan, report_.findings));
  }

  std::string sections() {
    std::string text;
    text += section("What was compared", methods());
    text += section("Quality", numbers_.figures(quality_figures(report_)) +
                                   html_table(quality_table(report_.plan, report_.findings)) +
                                   paragraph(metric_meanings(), "small"));
    text += section("Differences", numbers_.figures(difference_figures(report_)) +
                                       html_table(decision_table(report_.plan, report_.findings)) +
                                       paragraph(standings(), "small"));
    text += section("Cost", numbers_.figures(cost_figures(report_)) + html_table(cost_table(report_.findings)) +
                                paragraph(measured_on_text(report_.findings), "small"));
    const std::string pairs = html_table(forgetting_pair_table(report_.findings));
    text += section("Forgetting", numbers_.figures(forgetting_figures(report_)) +
                                      html_table(forgetting_table(report_.findings)) +
                                      (pairs.empty() ? "" : folded("Every pair of methods, with its interval", pairs)));
    text += section("Why a frozen body is worse", diagnosis());
    text += section("Class by class", numbers_.figures(class_figures(report_)) + class_tables());
    text += section("Learning rates and training", training());
    text += section("In words", words());
    text += section("All pairs", folded("Every pair of methods, with its interval and p-value",
                                        html_table(pair_table(report_.plan, report_.findings))));
    text += section("The study as it ran", run());
    text += section("How to read the numbers", bullets(reading_notes(report_)));
    text += section("Machine, and how to repeat it", repeating());
    return text;
  }

  std::string heading(int level, const std::string& title, const std::string& id = "") const {
    return fmt::format("<h{}{}>{}</h{}>\n", level, id.empty() ? "" : fmt::format(" id=\"{}\"", id), escaped(title),
                       level);
  }

  // Nothing for a section without content; what there is is listed in the contents.
  std::string section(const std::string& title, const std::string& content) {
    if (content.empty()) return "";
    const std::string id = fmt::format("{}section-{}", prefix_, sections_.size() + 1);
    sections_.emplace_back(id, title);
    return fmt::format("<section>\n{}{}</section>\n", heading(level_, title, id), content);
  }

  std::string contents() const {
    std::string links;
    for (const auto& [id, title] : sections_) links += fmt::format("<a href=\"#{}\">{}</a>\n", id, escaped(title));
    return fmt::format("<nav class=\"contents\" aria-label=\"Contents\">\n{}</nav>\n", links);
  }

  std::string methods() const {
    const StudyPlan& plan = report_.plan;
    Table table{{"method", "what trains", "trainable parameters", "from"}, {}};
    for (const MethodPlan& method : plan.methods) {
      const auto& kind = peft::method_kind(method.method.name);
      std::string trainable;
      for (const Cell& cell : report_.findings.cells) {
        if (cell.method == method.method.text() && cell.cost.trainable_parameters > 0)
          trainable = count_text(cell.cost.trainable_parameters);
      }
      table.rows.push_back({method.method.text(), kind.summary, trainable, kind.paper});
    }
    std::vector<std::string> sets;
    for (const EvaluationSet& set : plan.sets)
      sets.push_back(
          fmt::format("{} ({} examples)", set.name == "test" ? "the test set" : set.name, count_text(set.examples)));
    std::vector<std::string> counts;
    std::set<std::size_t> seeds;
    for (const std::int64_t samples : plan.samples) {
      counts.push_back(count_text(samples));
      if (!plan.is_dropped(samples)) seeds.merge(plan.seed_numbers(samples));
    }
    return paragraph(fmt::format(
               "Each method trains {} on {} with {} labelled examples, at the learning rate that {}. It does so with "
               "{}, each with training examples, a head and an order of its own, the same for every method, and is "
               "scored on {}.{}",
               plan.model, plan.task, listed(counts), rate_words(plan), seed_numbers_text(seeds), listed(sets),
               sets.size() > 1 ? " Out of domain (ood) are texts from elsewhere than the training data." : "")) +
           html_table(table);
  }

  static std::string rate_words(const StudyPlan& plan) {
    if (!chooses_rates(plan)) return "was given";
    const std::string apart = "on dev, examples kept apart for such choices";
    if (plan.search == SearchDepth::quick) return "short trainings suggest " + apart;
    return fmt::format("was chosen {} (the lowest of those within {:.0f} % of the best)", apart, 100 * plan.alike);
  }

  // What the columns of the quality table are.
  std::string metric_meanings() const {
    if (report_.findings.cells.empty()) return "";
    std::string text =
        "Means over the seeds ± half the 95 % interval. A collapsed seed did no better than always "
        "giving one answer, and is in the mean; a failed one is not.";
    const std::set<std::string> metrics = {"macro_f1", "balanced_accuracy", report_.plan.metric};
    for (const std::string& metric : metrics) {
      const bool is_there =
          std::any_of(report_.findings.cells.begin(), report_.findings.cells.end(), [&](const Cell& cell) {
            const auto test = cell.metrics.find("test");
            return test != cell.metrics.end() && test->second.count(metric) > 0;
          });
      const std::string meaning = metric_meaning(metric);
      if (is_there && !meaning.empty()) text += " " + meaning;
    }
    return text;
  }

  // How the table of decisions is read.
  std::string standings() const {
    if (report_.findings.decisions.empty()) return "";
    return fmt::format(
        "As good: shown to lose no more than {} points to any other. Worse: not that, and another is shown to be "
        "better. Undecided: neither. Interval and chance are of this pair alone, with the {} mean.{}",
        points(report_.plan.margin), best_word(report_.plan.metric), by_chance(report_.plan.samples));
  }

  // Why an interval that leaves out zero may be none that is shown.
  std::string by_chance(const std::vector<std::int64_t>& counts) const {
    const std::string pairs = all_pairs(report_.findings, "test", counts);
    if (pairs.empty()) return "";
    return fmt::format(
        " Of {} of a sample count some look different by chance. Shown over all pairs: that is allowed for (Holm's "
        "adjustment), as it is in what is called undecided or still possible. This pair alone: its interval leaves out "
        "zero, but the difference is not shown over all pairs.",
        pairs);
  }

  std::string class_tables() const {
    std::string text;
    for (const std::int64_t samples : report_.plan.samples) {
      const Table table = class_table(report_, samples);
      if (table.rows.empty()) continue;
      text += folded(fmt::format("F1 of each class on test with {} examples, in %: the mean over the seeds ± half its "
                                 "95 % interval, in brackets the examples of the class",
                                 count_text(samples)),
                     html_table(table));
    }
    return text;
  }

  std::string diagnosis() {
    if (!study_.diagnosis) return "";
    const Diagnosis& found = *study_.diagnosis;
    std::string text;
    for (const std::string& words : diagnosis_words(found)) text += paragraph(words);
    text += numbers_.figures(diagnosis_figures(found)) + html_table(diagnosis_table(found));
    text += paragraph(
        fmt::format(
            "dtrain diagnose: {} labelled examples, {} of dev, {} of test. An optimum is a linear head that was "
            "solved, not trained; of a test share and a difference the 95 % interval is in brackets. Time is of "
            "one training, or of solving.",
            count_text(found.samples), count_text(found.dev_examples), count_text(found.test_examples)),
        "small");
    return text + folded("Every probe: accuracy on test in %, by layer and pooling (*: the best on dev)",
                         html_table(probe_table(found)));
  }

  std::string training() {
    // One after the other: their numbers follow from the order.
    std::string text = numbers_.figures(search_figures(report_));
    text += numbers_.figures(curve_figures(report_));
    const auto collapsed = collapse_figures(report_);
    std::int64_t runs = 0;
    for (const Cell& cell : report_.findings.cells) runs += cell.ended;
    text += numbers_.figures(collapsed);
    if (collapsed.empty() && runs > 0)
      text += paragraph(runs == 1 ? "The one run of the result neither collapsed nor failed."
                                  : fmt::format("None of the {} runs of the result collapsed or failed.", runs));
    return text + folded("What the search found for each learning rate",
                         html_table(search_table(report_.plan, report_.findings)));
  }

  // Each cheaper method on a line of its own.
  static std::string advice(const std::string& text) {
    constexpr std::string_view kCheaper = " Else ";
    const std::size_t first = std::min(text.find(kCheaper), text.size());
    const std::size_t elsewhere = std::min(text.find(" Where inputs are like "), text.size());
    std::vector<std::string> cheaper;
    for (std::size_t at = first; at < elsewhere;) {
      const std::size_t next = std::min(text.find(kCheaper, at + 1), elsewhere);
      cheaper.push_back(text.substr(at + 1, next - at - 1));
      at = next;
    }
    return paragraph(text.substr(0, std::min(first, elsewhere))) + bullets(cheaper) +
           paragraph(text.substr(std::min(elsewhere + 1, text.size())));
  }

  std::string words() const {
    std::string text;
    for (const Verdict& verdict : report_.verdicts) {
      text += heading(level_ + 1, fmt::format("With {} examples", count_text(verdict.samples))) +
              bullets(verdict.findings) + advice(verdict.advice);
      for (const std::string& warning : verdict.warnings) text += paragraph(warning, "warning");
    }
    return text;
  }

  std::string run() {
    const RunFacts& facts = report_.run;
    std::string text = numbers_.figures(timeline_figures(report_));
    std::vector<std::string> lines;
    if (facts.budget_seconds) lines.push_back(fmt::format("Budget: {}.", duration_text(*facts.budget_seconds)));
    if (const std::string error = forecast_error_text(facts); !error.empty())
      lines.push_back(fmt::format("Took {} ({}).", duration_text(facts.seconds), error));
    double search = 0;
    double result = 0;
    for (const Cell& cell : report_.findings.cells) {
      search += cell.search_seconds;
      result += cell.result_seconds;
    }
    if (search + result > 0)
      lines.push_back(
          fmt::format("{} trials: the searches for learning rates took {}, the results {} (summed over the trials).",
                      report_.finished.size(), duration_text(search), duration_text(result)));
    return text + bullets(lines);
  }

  std::string repeating() const {
    const auto said = [](const std::string& text) { return text.empty() ? std::string("not written down") : text; };
    std::string facts = entry("Machine", said(report_.machine)) + entry("Begun", said(report_.begun));
    for (const std::string& version : report_.versions) facts += entry("Version", version);
    std::string identity;
    for (const auto& [name, value] : report_.plan.identity) identity += entry(name, value);
    return fmt::format("<dl>\n{}</dl>\n<pre>{}</pre>\n", facts, escaped(said(report_.command))) +
           folded("All that decides the numbers", fmt::format("<dl>\n{}</dl>\n", identity));
  }

  static std::string entry(const std::string& name, const std::string& value) {
    return fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value));
  }

  const Study& study_;
  const Report& report_;
  int level_;
  std::string prefix_;
  FigureNumbers& numbers_;
  std::vector<std::pair<std::string, std::string>> sections_;
};

std::string question(const StudyPlan& plan) {
  return fmt::format("Train all of it, freeze it, or use a parameter-efficient method? {} on {}", plan.model,
                     plan.task);
}

// The answers of several studies, one under the other.
Table overview(const std::vector<Study>& studies) {
  Table table{{"study", "model", "task", "labelled examples", "take", "learning rate", "how sure", "on test",
               "training", "ran on"},
              {}};
  for (const Study& study : studies) {
    const Report& report = *study.report;
    const std::string partial = unfinished(report);
    const std::string name = partial.empty() ? study.name : fmt::format("{} (partial: {})", study.name, partial);
    const auto add = [&](const std::vector<std::string>& answer) {
      auto& row = table.rows.emplace_back(std::vector<std::string>{name, report.plan.model, report.plan.task});
      row.insert(row.end(), answer.begin(), answer.end());
      row.push_back(report.machine);
    };
    const Table counts = answers_by_count(report);
    if (counts.rows.empty()) add({"", "nothing yet", "", "no answer", "", ""});
    for (auto answer : counts.rows) {
      // The last but one is by the study's own metric, which the header of several cannot name.
      std::string& on_test = *(answer.end() - 2);
      if (!on_test.empty()) on_test += " " + metric_words(report.plan.metric);
      add(answer);
    }
  }
  return table;
}

// What several studies say together.
std::string agreement(const std::vector<Study>& studies) {
  std::map<std::int64_t, std::set<std::string>> taken;
  std::map<std::int64_t, std::size_t> answers;
  std::set<std::int64_t> guessed;
  for (const Study& study : studies) {
    for (const Verdict& verdict : study.report->verdicts) {
      const Answer answer = answer_at(*study.report, verdict.samples);
      if (answer.take.empty()) continue;
      taken[verdict.samples].insert(answer.take);
      ++answers[verdict.samples];
      if (!answer.shown) guessed.insert(verdict.samples);
    }
  }
  std::vector<std::string> texts;
  for (const auto& [samples, methods] : taken) {
    if (answers[samples] < 2) continue;
    const std::string how = methods.size() == 1 ? "agree on" : "do not agree:";
    texts.push_back(fmt::format("With {} labelled examples the studies {} {}{}.", count_text(samples), how,
                                listed({methods.begin(), methods.end()}),
                                guessed.count(samples) > 0 ? ", best guesses among them" : ""));
  }
  return bullets(texts);
}

}  // namespace

std::string html_text(const std::vector<Study>& studies) {
  if (studies.empty()) throw std::invalid_argument("a page of no study");
  FigureNumbers numbers;
  if (studies.size() == 1) {
    const std::string title = question(studies[0].report->plan);
    return document(title, fmt::format("<h1>{}</h1>\n", escaped(title)) + Part(studies[0], 2, "", numbers).text());
  }
  std::string body = fmt::format("<h1>{} studies of how to fine-tune</h1>\n", studies.size()) + agreement(studies) +
                     html_table(overview(studies));
  for (std::size_t i = 0; i < studies.size(); ++i)
    body += fmt::format("<h2 id=\"study-{}\">{}: {} on {}</h2>\n", i + 1, escaped(studies[i].name),
                        escaped(studies[i].report->plan.model), escaped(studies[i].report->plan.task)) +
            Part(studies[i], 3, fmt::format("study-{}-", i + 1), numbers).text();
  return document(fmt::format("{} studies of how to fine-tune", studies.size()), body);
}

}  // namespace dtrain::study::page
