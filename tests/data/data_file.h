#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "data/readers/labelled_text.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::data {

// A data file of a test's own content, and what reading it gives.
class DataFile : public testing::Test {
 protected:
  LabelledTexts read(const std::string& name, std::string_view content, const Columns& columns = {}) {
    return read_labelled_texts(directory.file(name, content), columns);
  }
  // The message of the error that reading gives, without the folder.
  std::string failure(const std::string& name, std::string_view content, const Columns& columns = {}) {
    return without_folder(failure_of<InputError>([&] { read(name, content, columns); }));
  }
  std::vector<std::string> notes(const std::string& name, std::string_view content, const Columns& columns = {}) {
    auto found = read(name, content, columns).notes;
    for (std::string& note : found) note = without_folder(note);
    return found;
  }
  std::string without_folder(std::string text) {
    const std::string folder = directory.path().string() + "/";
    for (auto at = text.find(folder); at != std::string::npos; at = text.find(folder)) text.erase(at, folder.size());
    return text;
  }

  const TemporaryDirectory directory;
};

// "label|text|pair" of each row.
inline std::vector<std::string> rows_of(const LabelledTexts& texts) {
  std::vector<std::string> rows;
  for (const LabelledText& row : texts.rows) rows.push_back(fmt::format("{}|{}|{}", row.label, row.text, row.pair));
  return rows;
}

}  // namespace dtrain::data
