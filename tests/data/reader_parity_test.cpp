// TSV, CSV and JSON as Python's csv and json modules read them;
// reader_reference.py has written both.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/atomic_file.h"
#include "data/readers/delimited_file.h"
#include "data/readers/json_records.h"
#include "tests/data/reference_file.h"

namespace dtrain::data {
namespace {

using Rows = std::vector<std::vector<std::string>>;

constexpr int kFiles = 150;
const std::filesystem::path kReference = DTRAIN_REFERENCE;

Rows reference_rows(const std::string& name) {
  ReferenceFile file(kReference / (name + ".reference"));
  Rows rows(static_cast<std::size_t>(file.number()));
  for (auto& row : rows) {
    row.resize(static_cast<std::size_t>(file.number()));
    for (std::string& field : row) field = file.text().value();
  }
  EXPECT_TRUE(file.at_end());
  return rows;
}

Rows fields_of(Records records) {
  Rows rows;
  for (Record& record : records.rows) rows.push_back(std::move(record.fields));
  return rows;
}

TEST(Csv, IsReadAsByPython) {
  for (int number = 0; number < kFiles; ++number) {
    const std::string name = fmt::format("{}.csv", number);
    ASSERT_EQ(fields_of(read_csv(read_file(kReference / name), name)), reference_rows(name)) << name;
  }
}

TEST(Tsv, IsReadAsByPythonWhereItIsQuoted) {
  for (int number = 0; number < kFiles; ++number) {
    const std::string name = fmt::format("{}.tsv", number);
    ASSERT_EQ(fields_of(read_tsv(read_file(kReference / name), name)), reference_rows(name)) << name;
  }
}

TEST(Tsv, IsReadAsByPythonWithoutQuotingWhereItIsNot) {
  for (int number = 0; number < kFiles; ++number) {
    const std::string name = fmt::format("{}.txt", number);
    ASSERT_EQ(fields_of(read_tsv(read_file(kReference / name), name)), reference_rows(name)) << name;
  }
}

TEST(Separator, IsFoundInWhatPythonWrote) {
  for (int number = 0; number < kFiles; ++number) {
    const std::string name = fmt::format("{}.separated", number);
    const std::string content = read_file(kReference / name);
    const char separator = sniffed_separator(content, [](std::string_view field) { return field == "label"; });
    ASSERT_EQ(fields_of(read_csv(content, name, separator)), reference_rows(name)) << name;
  }
}

class Json : public testing::TestWithParam<const char*> {};

TEST_P(Json, IsReadAsByPython) {
  for (int number = 0; number < kFiles; ++number) {
    const std::string name = fmt::format("{}.{}", number, GetParam());
    const Records records =
        read_json_records(read_file(kReference / name), name, [](std::string_view) { return false; });
    // The reference has its columns by name, under a first row that names them.
    std::vector<std::size_t> order(records.columns.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t left, std::size_t right) { return records.columns[left] < records.columns[right]; });
    Rows rows(1);
    for (const std::size_t column : order) rows[0].push_back(records.columns[column]);
    for (const Record& record : records.rows) {
      rows.emplace_back();
      for (const std::size_t column : order) rows.back().push_back(record.fields[column]);
    }
    ASSERT_EQ(rows, reference_rows(name)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Json, testing::Values("jsonl", "json"),
                         [](const auto& kind) { return std::string(kind.param); });

}  // namespace
}  // namespace dtrain::data
