// A data file. The input's first line is the name's ending and then, if any, how the columns are asked for; the rest is
// the file.

#include <utf8cpp/utf8.h>

#include "data/readers/label_column.h"
#include "data/readers/labelled_text.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const auto input = fuzz::text_of(data, size);
  const std::size_t line_end = std::min(input.find('\n'), input.size());
  const std::string_view asked = input.substr(0, line_end);
  const auto asks = [&](std::string_view word) { return asked.find(word) != asked.npos; };
  // The longest that is named: .json is within .jsonl.
  std::string ending = ".tsv";
  for (const std::string& known : data::data_file_endings()) {
    if (asks(std::string_view(known).substr(1)) && (ending == ".tsv" || known.size() > ending.size())) ending = known;
  }
  data::Columns columns;
  columns.label_required = !asks("unlabelled");
  if (asks("first")) columns.text = "1";
  if (asks("second")) columns.label = "2";
  if (asks("header")) columns.header = data::Header::yes;
  if (asks("rows")) columns.header = data::Header::no;
  if (asks("lists")) columns.label_separator = ";";
  const auto path = fuzz::scratch() / ("a" + ending);
  fuzz::write(path, input.substr(std::min(line_end + 1, input.size())));
  fuzz::read_or_refuse([&] {
    const auto texts = data::read_labelled_texts(path, columns);
    fuzz::require(!texts.rows.empty(), "rows");
    for (const auto& row : texts.rows) {
      for (const std::string* text : {&row.text, &row.pair, &row.label})
        fuzz::require(utf8::is_valid(text->begin(), text->end()), "valid UTF-8");
      fuzz::require(texts.has_label_lists || row.labels.empty(), "lists where there are lists");
    }
    data::check_label_column(texts, path.string());
  });
  return 0;
}
