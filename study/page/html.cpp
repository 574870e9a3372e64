#include "study/page/html.h"

#include <fmt/format.h>

#include <cstddef>

#include "study/figures/markup.h"

namespace dtrain::study::page {

using figures::escaped;

std::string paragraph(const std::string& text, const std::string& style_class) {
  if (text.empty()) return "";
  return fmt::format("<p{}>{}</p>\n", style_class.empty() ? "" : fmt::format(" class=\"{}\"", style_class),
                     escaped(text));
}

std::string bullets(const std::vector<std::string>& texts) {
  if (texts.empty()) return "";
  std::string items;
  for (const std::string& text : texts) items += fmt::format("<li>{}</li>\n", escaped(text));
  return "<ul>\n" + items + "</ul>\n";
}

std::string html_table(const Table& table) {
  if (table.rows.empty()) return "";
  const std::vector<bool> left = left_columns(table);
  const auto row = [&](const std::vector<std::string>& cells, const char* tag) {
    std::string text = "<tr>";
    for (std::size_t i = 0; i < left.size(); ++i)
      text += fmt::format("<{}{}>{}</{}>", tag, left[i] ? "" : " class=\"number\"",
                          i < cells.size() ? escaped(cells[i]) : "", tag);
    return text + "</tr>\n";
  };
  std::string body;
  for (const auto& cells : table.rows) body += row(cells, "td");
  return fmt::format("<div class=\"scroll\"><table>\n<thead>{}</thead>\n<tbody>\n{}</tbody>\n</table></div>\n",
                     row(table.header, "th"), body);
}

std::string folded(const std::string& title, const std::string& content) {
  if (content.empty()) return "";
  return fmt::format("<details>\n<summary>{}</summary>\n{}</details>\n", escaped(title), content);
}

std::string FigureNumbers::figures(const std::vector<Figure>& all) {
  if (all.empty()) return "";
  std::string text = "<div class=\"figures\">\n";
  for (const Figure& figure : all) {
    ++last_;
    text += fmt::format(
        "<figure{}>\n<figcaption><b>Figure {}. {}.</b> {}</figcaption>\n<div class=\"{}\">{}</div>\n</figure>\n",
        figure.wide ? " class=\"wide\"" : "", last_, escaped(figure.title), escaped(figure.caption),
        figure.wide ? "scroll" : "drawing", figure.draw(fmt::format("figure-{}", last_)));
  }
  return text + "</div>\n";
}

std::string document(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{}</title>\n<style>\n{}</style>\n</head>\n"
      "<body>\n<main>\n{}</main>\n</body>\n</html>\n",
      escaped(title), style_sheet(), body);
}

}  // namespace dtrain::study::page
