#pragma once

#include <optional>
#include <string>
#include <vector>

#include "study/diagnosis/diagnosis.h"
#include "study/report/report.h"

namespace dtrain::study::page {

/// A study as a page shows it.
struct Study {
  const Report* report;
  /// What tells it from the others on the page: its directory.
  std::string name;
  /// What `dtrain diagnose` left beside it.
  std::optional<Diagnosis> diagnosis;
};

/// report.html: one study, or several with a table of their answers on top. It needs no other file, no network and no
/// JavaScript, and is well-formed XML. Whatever users named is escaped. Throws std::invalid_argument for no study.
std::string html_text(const std::vector<Study>& studies);

}  // namespace dtrain::study::page
