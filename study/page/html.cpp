#include "study/page/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "study/figures/markup.h"

namespace dtrain::study::page {

using figures::escaped;

namespace {

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

// The end of an option at `begin` ("--seeds 8", "--lr 5e-5.") with its value, where that is a number.
std::size_t option_end(const std::string& text, std::size_t begin) {
  const std::size_t end = std::min(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", begin), text.size());
  if (end + 1 >= text.size() || text[end] != ' ' || text[end + 1] < '0' || text[end + 1] > '9') return end;
  std::size_t value = std::min(text.find_first_not_of("0123456789.,e-", end + 1), text.size());
  while (text[value - 1] == '.' || text[value - 1] == ',') --value;
  return value;
}

// Escaped; a number stays together with its unit and its interval, and dtrain's options are shown as what is typed.
std::string prose(const std::string& plain) {
  std::string text = escaped(plain);
  replace_all(text, " %", "\u00a0%");
  replace_all(text, " ± ", "\u00a0±\u00a0");
  std::string result;
  std::size_t from = 0;
  for (std::size_t at = text.find("--"); at != std::string::npos; at = text.find("--", from)) {
    const bool begins = at == 0 || text[at - 1] == ' ' || text[at - 1] == '(';
    const std::size_t end = option_end(text, at);
    result += text.substr(from, at - from);
    result += begins && end > at + 2 ? "<code>" + text.substr(at, end - at) + "</code>" : text.substr(at, end - at);
    from = end;
  }
  return result + text.substr(from);
}

}  // namespace

std::string paragraph(const std::string& text, const std::string& style_class) {
  if (text.empty()) return "";
  return fmt::format("<p{}>{}</p>\n", style_class.empty() ? "" : fmt::format(" class=\"{}\"", style_class),
                     prose(text));
}

std::string bullets(const std::vector<std::string>& texts) {
  if (texts.empty()) return "";
  std::string items;
  for (const std::string& text : texts) items += fmt::format("<li>{}</li>\n", prose(text));
  return "<ul>\n" + items + "</ul>\n";
}

std::string html_table(const Table& table) {
  if (table.rows.empty()) return "";
  const std::vector<bool> left = left_columns(table);
  const auto row = [&](const std::vector<std::string>& cells, const char* tag) {
    std::string text = "<tr>";
    for (std::size_t i = 0; i < left.size(); ++i)
      text += fmt::format("<{}{}>{}</{}>", tag, left[i] ? "" : " class=\"number\"",
                          i < cells.size() ? prose(cells[i]) : "", tag);
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
        figure.wide ? " class=\"wide\"" : "", last_, prose(figure.title), prose(figure.caption),
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
