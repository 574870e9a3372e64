#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/table.h"

namespace dtrain::study::page {

/// A figure with its words. `draw` makes the SVG under an id that is unique on the page.
struct Figure {
  std::string title;
  /// What is seen, and how to read it.
  std::string caption;
  std::function<std::string(const std::string& id)> draw;
  /// Takes the page's whole width.
  bool wide = false;
};

/// <p> of a text, escaped.
std::string paragraph(const std::string& text, const std::string& style_class = "");
/// <ul> of texts, escaped.
std::string bullets(const std::vector<std::string>& texts);
/// A table that scrolls sideways where the page is too narrow for it; words to the left, numbers to the right, as on a
/// terminal. Cells are escaped. Empty for a table without rows.
std::string html_table(const Table& table);
/// What opens at a click, and is open on paper.
std::string folded(const std::string& title, const std::string& content);

/// Hands out what must be unique on a page: the numbers of figures and the ids that follow from them.
class FigureNumbers {
 public:
  /// Figures side by side as far as the page is wide; empty for none.
  std::string figures(const std::vector<Figure>& figures);

 private:
  int last_ = 0;
};

/// The whole style sheet: light and dark, screen and paper.
std::string style_sheet();

/// A figure's element as a file of its own.
std::string svg_file(std::string figure);

/// A document that needs nothing else. It is well-formed XML, too.
std::string document(const std::string& title, const std::string& body);

}  // namespace dtrain::study::page
