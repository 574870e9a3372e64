#include <fmt/format.h>

#include "study/figures/style.h"
#include "study/page/html.h"

namespace dtrain::study::page {
namespace {

// Colours of the series are told apart by people who see no red, no green or no blue (after Okabe and Ito, 2008), and
// have a contrast of at least 4.5 with the page. "<" and "&" must not occur: the page is XML, too.
constexpr const char* kColours = R"(
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1c2024; --muted: #565d66; --grid: #e2e5e9; --zone: #eceff3; --panel: #f4f6f8; --rule: #d4d9df;
  --accent: #0a5a9c; --good: #e8f3ea; --good-rule: #2c7a3f; --unsure: #fdf3e0; --unsure-rule: #b26a00;
  --series-0: #0a5a9c; --series-1: #b8460b; --series-2: #17724a; --series-3: #85388c;
  --series-4: #7d6000; --series-5: #007282; --series-6: #a82c55; --series-7: #555b63;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --ink: #e6e9ed; --muted: #a3abb5; --grid: #2a3037; --zone: #232a32; --panel: #1d2228; --rule: #39414a;
    --accent: #7cbcf2; --good: #16281b; --good-rule: #64b97a; --unsure: #2e2513; --unsure-rule: #dfa64a;
    --series-0: #6cb2ee; --series-1: #f08c55; --series-2: #5cc393; --series-3: #cf8fd6;
    --series-4: #d8b84a; --series-5: #4fc1d1; --series-6: #ee84a6; --series-7: #b4bbc4;
  }
}
)";

constexpr const char* kScreen = R"(
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1500px; margin: 0 auto; padding: 20px clamp(14px, 4vw, 48px) 60px; }
p, ul, .answer { max-width: 80ch; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .6em 0; max-width: 60ch; }
h2 { font-size: 1.22rem; margin: 2.2em 0 .6em; padding-top: .5em; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 1.8em 0 .5em; }
a { color: var(--accent); }
code, pre { font-family: ui-monospace, "Liberation Mono", "DejaVu Sans Mono", monospace; font-size: .88em; }
pre { background: var(--panel); padding: 10px 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
.answer { background: var(--good); border-left: 5px solid var(--good-rule); padding: 4px 18px; margin: 1em 0; }
.answer.unsure, .partial { background: var(--unsure); border-left: 5px solid var(--unsure-rule); }
.partial { padding: 8px 18px; max-width: 80ch; }
.answer .first { font-size: 1.18rem; }
.warning { border-left: 3px solid var(--unsure-rule); padding-left: 12px; }
.small { color: var(--muted); font-size: .9em; }
.contents { font-size: .92em; line-height: 1.9; }
.contents a { margin-right: 1.1em; white-space: nowrap; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .9em; margin: .4em 0 1em; }
th, td { padding: 4px 12px 4px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; color: var(--muted); vertical-align: bottom; }
td { overflow-wrap: break-word; min-width: 6ch; }
td:first-child { min-width: 8ch; }
.answer pre { background: var(--page); }
td.number { min-width: 0; white-space: nowrap; }
p code, li code { white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); gap: 26px 34px;
  margin: 1em 0; }
figure { margin: 0; max-width: 540px; display: flex; flex-direction: column; }
figure.wide { grid-column: 1 / -1; max-width: 900px; }
figure.wide svg.figure { min-width: 620px; }
figcaption { font-size: .88em; line-height: 1.4; margin-bottom: 10px; color: var(--muted); }
figcaption b { color: var(--ink); }
details { margin: .8em 0; }
summary { cursor: pointer; color: var(--accent); }
dl { display: grid; grid-template-columns: minmax(9em, max-content) 1fr; gap: 2px 18px; font-size: .9em; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 560px) { dl { grid-template-columns: 1fr; } dd { margin-bottom: 6px; } }
@media screen and (max-width: 560px) {
  .scroll table { width: max-content; }
  th { max-width: 11ch; }
  td { max-width: 26ch; }
  .scroll td:first-child { max-width: 16ch; }
  .scroll th:first-child, .scroll td:first-child { position: sticky; left: 0; background: var(--page); }
}
)";

// Paper is white whatever the screen is, has nothing to click on, and no figure or row is cut by a page's end.
constexpr const char* kPrint = R"(
@page { margin: 14mm; }
@media print {
  body { font-size: 10.5pt; }
  main { padding: 0; max-width: none; }
  h2, h3, summary, thead { break-after: avoid; }
  figure, tr, .answer, pre { break-inside: avoid; }
  p, li { orphans: 3; widows: 3; }
  .contents { display: none; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding-right: 8px; }
  .figures { grid-template-columns: 1fr 1fr; gap: 18px 22px; }
  figure.wide svg.figure { min-width: 0; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .answer, .partial, svg.figure, pre { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
)";

// A figure without a page has nothing behind it, where light ink would not be seen.
constexpr const char* kAlone = "svg { background: var(--page); }\n";

}  // namespace

std::string svg_file(std::string figure) {
  const std::string opening = "<svg ";
  figure.insert(figure.find(opening) + opening.size(), "xmlns=\"http://www.w3.org/2000/svg\" ");
  figure.insert(figure.find('>') + 1, fmt::format("\n<style>{}{}{}</style>", kColours, kAlone, figures::style_rules()));
  return figure;
}

std::string style_sheet() { return kColours + figures::style_rules() + kScreen + kPrint; }

}  // namespace dtrain::study::page
