#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "study/diagnosis/diagnosis.h"
#include "tests/study/diagnosis_case.h"

namespace dtrain::study {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(DiagnosisJson, IsReadBackAsItWas) {
  Diagnosis diagnosis = known_diagnosis();
  diagnosis.left_out = {"bitfit"};
  diagnosis.notes = {"dev: 3 duplicate rows (kept)"};
  diagnosis.rows.back().rate_from = "study";
  DiagnosisRow failed = diagnosis.rows.back();
  failed.failure = "the loss is not finite";
  failed.rate_from = "default";
  diagnosis.rows.push_back(failed);
  const json written = json::parse(diagnosis_json(diagnosis).dump());
  EXPECT_EQ(diagnosis_json(diagnosis_from_json(written)), written);
  // Those of earlier versions say neither what was left out nor where a rate is from.
  json earlier = written;
  earlier.erase("left_out");
  for (auto& row : earlier["rows"]) row.erase("rate_from");
  EXPECT_EQ(diagnosis_words(diagnosis_from_json(earlier)).size(), 4U);
}

TEST(DiagnosisJson, WithoutAPartIsRefused) {
  const json whole = diagnosis_json(known_diagnosis());
  const auto expect_refused = [&](const json::json_pointer& place, const std::string& key) {
    if (key == "words" || key == "left_out" || key == "rate_from") return;
    json broken = whole;
    broken[place].erase(key);
    EXPECT_THROW(diagnosis_from_json(broken), InputError) << place.to_string() << "/" << key;
    for (const json& other : {json(json::array({1})), json("x"), json(true), json(1e300), json::object()}) {
      broken[place][key] = other;
      try {
        diagnosis_words(diagnosis_from_json(broken));
      } catch (const InputError&) {
        continue;  // or it is taken, as any text is
      }
    }
  };
  for (const char* place : {"", "/gap", "/rows/0", "/rows/0/to_full", "/rows/5", "/probes/0", "/steps/0"}) {
    const json::json_pointer pointer{std::string(place)};
    for (const auto& [key, value] : whole[pointer].items()) expect_refused(pointer, key);
  }
}

TEST(DiagnosisJson, HasTheRowsAndStepsOfADiagnosis) {
  const json whole = diagnosis_json(known_diagnosis());
  const auto refusal = [](const json& broken) {
    try {
      diagnosis_from_json(broken);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("it is taken");
  };
  json broken = whole;
  broken["rows"].erase(0);
  EXPECT_THAT(refusal(broken), HasSubstr("a row 'asked'"));
  broken = whole;
  broken["steps"].erase(2);
  EXPECT_THAT(refusal(broken), HasSubstr("the steps of its rows"));
  broken = whole;
  broken["probes"] = json::array();
  EXPECT_THAT(refusal(broken), HasSubstr("probes"));
  broken = whole;
  broken["probes"][0]["layer"] = 2;
  EXPECT_THAT(refusal(broken), HasSubstr("a layer from 0 to 1, found 2"));
  broken = whole;
  broken["gap"]["high"] = 1e9;
  EXPECT_THAT(refusal(broken), HasSubstr("shares and their differences"));
  broken = whole;
  broken["samples"] = -1;
  EXPECT_THAT(refusal(broken), HasSubstr("a count from 0"));
}

}  // namespace
}  // namespace dtrain::study
