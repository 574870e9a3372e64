// A study's journal, and the report that is made of it.

#include <utility>
#include <vector>

#include "study/journal/journal.h"
#include "study/page/page.h"
#include "study/report/report.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const auto path = fuzz::scratch() / "journal.jsonl";
  fuzz::write(path, fuzz::text_of(data, size));
  fuzz::read_or_refuse([&] {
    auto content = study::read_journal(path, Log());
    study::Report report = study::make_report(std::move(content.plan), std::move(content.finished), content.costs);
    report.run = content.run;
    static_cast<void>(study::results_json(report).dump());
    static_cast<void>(study::trials_csv(report));
    std::vector<study::page::Study> shown;
    shown.push_back({&report, "study", {}});
    static_cast<void>(study::page::html_text(shown));
  });
  return 0;
}
