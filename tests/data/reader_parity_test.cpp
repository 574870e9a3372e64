// CSV and JSONL as Python's csv and json modules read them; reader_reference.py has written both.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "data/readers/text_file.h"
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

TEST(Csv, IsReadAsByPython) {
  for (int number = 0; number < kFiles; ++number) {
    const std::string name = fmt::format("{}.csv", number);
    Rows rows;
    for (const Record& record : read_csv(read_file(kReference / name), name).rows) rows.push_back(record.fields);
    ASSERT_EQ(rows, reference_rows(name)) << name;
  }
}

TEST(Jsonl, IsReadAsByPython) {
  for (int number = 0; number < kFiles; ++number) {
    const std::string name = fmt::format("{}.jsonl", number);
    const Records records = read_jsonl(read_file(kReference / name), name);
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

}  // namespace
}  // namespace dtrain::data
