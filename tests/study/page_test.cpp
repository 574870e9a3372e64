#include "study/page/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "study/findings/words.h"
#include "study/plan/search.h"
#include "study/report/report.h"
#include "study/report/tables.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// full and lora alike, head far behind; seeds differ by a tenth of a point.
class Page : public testing::Test {
 protected:
  explicit Page(std::vector<std::int64_t> samples = {100, 1000})
      : plan_(small_plan({"full", "head", "lora"}, std::move(samples))) {
    for (const std::int64_t count : plan_.samples) {
      finish_method(finished_, plan_, 0, count, 700, 300, 30);
      finish_method(finished_, plan_, 1, count, 500, 400, 2);
      finish_method(finished_, plan_, 2, count, 699, 300, 20);
    }
  }

  TrialOutcome& result(std::size_t method, std::uint64_t seed, double rate = 0.003) {
    const Trial trial{Trial::Phase::result, plan_.methods[method].method.text(), plan_.samples.back(), rate, seed};
    return finished_.at(trial.key()).second;
  }
  void collapse(std::size_t method, std::uint64_t seed) {
    for (const char* set : {"dev", "test"}) result(method, seed).metrics[set]["accuracy"] = 0.3;
  }
  std::string text() const {
    const Report report = make_report(plan_, finished_);
    return page::html_text({{&report, "study", {}}});
  }

  StudyPlan plan_;
  FinishedTrials finished_;
};

class PageOfOneCount : public Page {
 protected:
  PageOfOneCount() : Page({1000}) {}
};

TEST_F(Page, ShowsEachSeedBesideTheMeanAndMarksThoseThatCollapsed) {
  EXPECT_THAT(text(), AllOf(HasSubstr("class=\"dot series-1\"><title>head, seed 2: 50.1</title>"),
                            Not(HasSubstr(">collapsed seed</text>"))));
  collapse(1, 2);
  EXPECT_THAT(text(), AllOf(HasSubstr("class=\"cross series-1\"><title>head, seed 2: 30</title>"),
                            HasSubstr(" [each seed: 50, 30 (collapsed seed), 50.2]"), HasSubstr(">each seed</text>"),
                            HasSubstr(">collapsed seed</text>")));
}

TEST_F(PageOfOneCount, ShowsEachSeedUnderTheMean) {
  collapse(1, 2);
  EXPECT_THAT(text(), AllOf(HasSubstr("class=\"cross series-1\"><title>head, seed 2: 30</title>"),
                            HasSubstr(" [each seed: 50, 30 (collapsed seed), 50.2]"), HasSubstr(">each seed</text>")));
}

TEST_F(Page, OutlinesDifferencesThatAreNotShownOverAllPairs) {
  // Of lora on both sets at both counts.
  EXPECT_EQ(count_of(text(), " [not shown over all 3 pairs]"), 4U);
  EXPECT_EQ(count_of(text(), ">not shown over all 3 pairs</text>"), 2U) << "in the legends";
}

TEST_F(PageOfOneCount, OutlinesDifferencesThatAreNotShownOverAllPairsToo) {
  EXPECT_EQ(count_of(text(), " [not shown over all 3 pairs]"), 2U);
}

TEST_F(Page, SaysInItsTableHowManySeedsThereAre) {
  collapse(1, 2);
  result(2, 1) = {};
  result(2, 1).failure = "the loss of step 3 is nan";
  const Table table = quality_table(plan_, analyse(plan_, finished_));
  EXPECT_EQ(table.header.at(3), "seeds");
  EXPECT_EQ(table.rows.at(3).at(3), "3 of 3");
  EXPECT_EQ(table.rows.at(4).at(3), "3 of 3 (1 collapsed)");
  EXPECT_EQ(table.rows.at(5).at(3), "2 of 3 (1 failed)");
}

TEST_F(Page, StrikesOutRatesThatWereLeftAfterTheirResults) {
  EXPECT_THAT(text(), Not(HasSubstr("class=\"strike\"")));
  // The rate that the search found breaks down with one seed, the next lower one does not.
  result(2, 2) = outcome_of(300, 300, 3);
  for (const Trial& trial : result_trials(plan_, plan_.methods[2], 1000, 0.001))
    finish(finished_, trial, outcome_of(690, 300, 0.55));
  ASSERT_THAT(analyse(plan_, finished_).cell("lora", 1000)->left_rates, ElementsAre(0.003));
  EXPECT_THAT(text(), AllOf(HasSubstr("class=\"strike\""), HasSubstr(">left after its results</text>"),
                            HasSubstr("0.6 at 0.001 [edge] [chosen], 0.4 at 0.003 [left after its results]"),
                            HasSubstr("Struck out: the search liked this rate best")));
}

// Short trainings alone, from which rates are inferred.
class PageOfAQuickSearch : public testing::Test {
 protected:
  PageOfAQuickSearch() {
    plan_.search = SearchDepth::quick;
    for (MethodPlan& method : plan_.methods) {
      method.lowest = 1e-4;
      method.highest = 0.01;
    }
  }

  // The log-loss of the searches of all methods by their rates, and of the results of every rate.
  void run(const std::map<double, double>& searched, double of_results) {
    for (const MethodPlan& method : plan_.methods) {
      for (;;) {
        const Search found = search(plan_, method, 1000, finished_);
        for (const Trial& trial : found.ready)
          finish(finished_, trial, outcome_of(500, 300, searched.at(trial.learning_rate)));
        if (!found.ready.empty()) continue;
        std::size_t results = 0;
        for (const Trial& trial : result_trials(plan_, method, 1000, *found.wanted)) {
          if (finished_.count(trial.key()) > 0) continue;
          finish(finished_, trial, outcome_of(500, 300, of_results));
          ++results;
        }
        if (results == 0) break;
      }
    }
  }
  std::string search_figure() const {
    const Report report = make_report(plan_, finished_);
    const std::string page = page::html_text({{&report, "study", {}}});
    const std::size_t begin = page.find("The search for the learning rate, 1,000 examples");
    return begin == std::string::npos ? "" : page.substr(begin, page.find("</figure>", begin) - begin);
  }

  StudyPlan plan_ = small_plan({"full", "head"}, {1000});
  FinishedTrials finished_;
};

TEST_F(PageOfAQuickSearch, RingsTheRateThatItInferred) {
  run({{0.001, 0.6}, {0.003, 0.4}, {0.01, 0.6}}, 0.3);
  ASSERT_EQ(analyse(plan_, finished_).cell("full", 1000)->learning_rate, 0.0016);
  const std::string figure = search_figure();
  EXPECT_THAT(figure, AllOf(HasSubstr(" full: 0.6 at 0.001 [after a part of the steps], 0.4 at 0.003 [after a part of "
                                      "the steps], 0.6 at 0.01 [after a part of the steps], chosen: 0.0016, where no "
                                      "point is. head:"),
                            HasSubstr("class=\"choice series-0\""), HasSubstr("class=\"choice series-1\""),
                            HasSubstr("The ring is the rate that was chosen. It is over the figure, with a line down "
                                      "from it: the rate of whole trainings was inferred from shorter ones"),
                            HasSubstr(">chosen</text>"), HasSubstr(">full</text>"), HasSubstr(">head</text>"),
                            Not(HasSubstr("edge")), Not(HasSubstr("Struck out"))));
  EXPECT_EQ(count_of(figure, "class=\"ring\""), 3U) << "in the legend, and of each method";
}

TEST_F(PageOfAQuickSearch, SaysThatARateWasInferredFromAnEdge) {
  run({{0.001, 0.6}, {0.003, 0.5}, {0.01, 0.4}}, 0.3);
  EXPECT_THAT(search_figure(),
              AllOf(HasSubstr(", where no point is [edge]. head:"), HasSubstr(">edge</text>"),
                    HasSubstr("&quot;edge&quot;: the best was the last of the rates that may be tried")));
}

TEST_F(PageOfAQuickSearch, RingsTheTrainingWhoseRateWasTakenInPlaceOfAnInferredOne) {
  run({{0.001, 0.45}, {0.003, 0.4}, {0.01, 0.6}}, 0.55);
  const Findings found = analyse(plan_, finished_);
  ASSERT_EQ(found.cell("full", 1000)->learning_rate, 0.001);
  ASSERT_THAT(found.cell("full", 1000)->left_rates, ElementsAre(0.0011));
  EXPECT_THAT(search_figure(),
              AllOf(HasSubstr(" full: 0.45 at 0.001 [chosen] [after a part of the steps],"),
                    HasSubstr("The ring is the rate that was chosen. "), Not(HasSubstr("class=\"choice")),
                    Not(HasSubstr("over the figure")), Not(HasSubstr("Struck out")),
                    HasSubstr("full at 0.0011, which was left after its results")));
}

TEST_F(Page, RingsTheTrainingWhoseRateWasChosen) {
  EXPECT_THAT(text(), AllOf(HasSubstr("0.4 at 0.003 [chosen],"), HasSubstr("The ring is the rate that was chosen. "),
                            Not(HasSubstr("class=\"choice series")), Not(HasSubstr("over the figure"))));
}

TEST_F(Page, SaysOnHowManyRanksAndThreadsItsCostsWereMeasured) {
  EXPECT_THAT(text(), Not(HasSubstr("were measured on")));
  for (auto& [key, trial] : finished_) {
    trial.second.cost.ranks = 2;
    trial.second.cost.threads_per_rank = 1;
  }
  const std::string one =
      "seconds of training were measured on 2 ranks with 1 thread each, one group of the study; on "
      "other numbers of ranks or threads they are others.";
  const Report report = make_report(plan_, finished_);
  EXPECT_THAT(text(), HasSubstr(one));
  EXPECT_THAT(markdown_text(report), HasSubstr(one));
  EXPECT_THAT(terminal_text(report), HasSubstr(one));
  Cost elsewhere = result(0, 1).cost;
  elsewhere.ranks = 1;
  elsewhere.threads_per_rank = 8;
  EXPECT_THAT(markdown_text(make_report(plan_, finished_, {{"full", {{100, elsewhere}}}})),
              HasSubstr("measured on 1 rank with 8 threads (full at 100); on 2 ranks with 1 thread each (head at 100, "
                        "lora at 100, full at 1,000, head at 1,000 and lora at 1,000): they do not compare."));
}

TEST_F(Page, SaysWhatItsMeasuresAre) {
  for (auto& [key, trial] : finished_) {
    if (trial.first.phase == Trial::Phase::result)
      trial.second.forgetting = {{"cka", 0.9}, {"mrr", 0.2}, {"mrr_before", 0.44}};
  }
  EXPECT_THAT(text(), AllOf(HasSubstr("Linear CKA says how alike"), HasSubstr("Retrieval: how well the model still"),
                            HasSubstr(">before training: 0.44</text>"), HasSubstr("Log-loss is the mean of minus"),
                            HasSubstr("Macro-F1 is F1"), HasSubstr("Balanced accuracy is the share")));
}

TEST_F(Page, GivesEachCheaperMethodALineOfItsOwn) {
  const std::string page = text();
  EXPECT_THAT(page, HasSubstr("<li>Else head, which gives up 19.9 points"));
  EXPECT_THAT(page, HasSubstr("<p>Where inputs are like web, take head"));
  EXPECT_THAT(page, Not(HasSubstr(" Else head")));
}

TEST_F(Page, NamesTheMethodThatAnotherIsWorseThan) {
  const Table table = decision_table(plan_, analyse(plan_, finished_));
  EXPECT_THAT(table.rows.at(1).at(0), "head");
  EXPECT_THAT(table.rows.at(1).at(2), "worse than full");
  EXPECT_THAT(table.rows.at(1).at(5), "over all pairs");
  EXPECT_THAT(table.rows.at(2).at(5), "no");
}

TEST_F(PageOfOneCount, SaysOfOneSeedThatItIsOne) {
  plan_.result_seeds = {1};
  EXPECT_THAT(text(), AllOf(HasSubstr("It does so with 1 seed, each with"),
                            HasSubstr("Of one seed, which says nothing of others; 1,000 examples scored"),
                            HasSubstr("results are of seed 1, each"), Not(HasSubstr("1 seeds"))));
}

TEST_F(PageOfOneCount, SaysWhatTrainIsToBeToldForTheSameTraining) {
  Report report = make_report(plan_, finished_);
  report.training_options = " --model 'my model'";
  Report again = make_report(plan_, finished_);
  take_setting(setting_json(report), again);
  EXPECT_THAT(page::html_text({{&again, "study", {}}}),
              HasSubstr("dtrain train --method lora --lr 0.003 --model &#39;my model&#39; --train FILE --output DIR"));
}

TEST_F(PageOfOneCount, ListsTheAnswersOfSeveralStudiesEachUnderItsTitle) {
  const Report report = make_report(plan_, finished_);
  std::string page = page::html_text({{&report, "here", {}}, {&report, "there", {}}});
  const std::string number = " class=\"number\"";
  for (std::size_t at = page.find(number); at != std::string::npos; at = page.find(number))
    page.erase(at, number.size());
  EXPECT_THAT(page, HasSubstr("<th>labelled examples</th><th>take</th><th>learning rate</th><th>how sure</th>"
                              "<th>on test</th><th>training</th><th>ran on</th>"));
  for (const char* study : {"here", "there"}) {
    EXPECT_THAT(page, HasSubstr(std::string("<tr><td>") + study +
                                "</td><td>tiny</td><td>toy</td><td>1,000</td><td>lora</td><td>0.003</td><td>shown</td>"
                                "<td>70.0\u00a0±\u00a00.2\u00a0% accuracy</td><td>20.0 s</td>"));
  }
  EXPECT_THAT(page, HasSubstr("With 1,000 labelled examples the studies agree on lora."));
}

TEST_F(PageOfOneCount, NamesThoseThatTie) {
  finish_method(finished_, plan_, 2, 1000, 700, 300, 20);
  EXPECT_THAT(text(), HasSubstr("the highest of 3 methods (which full reaches, too), and no cheaper method"));
  finish_method(finished_, plan_, 1, 1000, 699, 400, 2);
  EXPECT_THAT(text(), HasSubstr("(full and lora, which have the highest: 70.1"));
}

TEST(Shown, SaysOverWhat) {
  EXPECT_EQ(shown_text(0.001, true), "over all pairs");
  EXPECT_EQ(shown_text(0.001, false), "this pair alone");
  EXPECT_EQ(shown_text(0.05, false), "no");
  EXPECT_EQ(shown_text(NAN, false), "-");
}

}  // namespace
}  // namespace dtrain::study
