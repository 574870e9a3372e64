// dtrain_chart: lines over a logarithmic axis, from JSON on standard input to an SVG file on standard output, in the
// figures' own style. What bench's scripts compute is drawn as what dtrain computes is.
#include <cmath>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_file.h"
#include "study/figures/chart.h"
#include "study/page/html.h"

namespace {

using namespace dtrain;
using study::figures::Chart;
using study::figures::Series;

constexpr const char* kHelp =
    R"(dtrain_chart ID < chart.json > chart.svg
  {"title": "...", "description": "...",
   "x": {"title": "ranks", "at": [1, 8, 64]},        places of a logarithmic axis
   "y": {"title": "efficiency", "low": 0, "high": 1},
   "levels": [{"at": 1, "name": "..."}],             dotted lines; may be left out
   "series": [{"name": "full", "points": [{"x": 1, "y": 1, "low": 0.9, "high": 1}]}]}
  low and high bound a point's interval; a series whose points have one is drawn with a band.
)";

Series series_of(const nlohmann::json& given, std::size_t style) {
  Series series{.name = given.at("name"), .style = style, .points = {}, .spread = Series::Spread::band};
  for (const auto& point : given.at("points")) {
    series.points.push_back({.x = point.at("x"),
                             .y = point.at("y"),
                             .low = point.value("low", std::nan("")),
                             .high = point.value("high", std::nan(""))});
  }
  return series;
}

Chart chart_of(const nlohmann::json& given) {
  Chart chart;
  chart.title = given.at("title");
  chart.description = given.at("description");
  const auto& x = given.at("x");
  chart.x = study::figures::log_axis_at(x.at("title"), x.at("at").get<std::vector<double>>(),
                                        [](double value) { return study::figures::tick_labels({value})[0]; });
  const auto& y = given.at("y");
  const double low = y.at("low");
  const double high = y.at("high");
  chart.y = study::figures::linear_axis(y.at("title"), {low, high}, {low, std::numeric_limits<double>::infinity()});
  for (const auto& level : given.value("levels", nlohmann::json::array()))
    chart.levels.push_back({level.at("at"), level.at("name")});
  for (const auto& each : given.at("series")) chart.series.push_back(series_of(each, chart.series.size()));
  return chart;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || std::string(argv[1]) == "--help") {
    std::fputs(kHelp, argc == 2 ? stdout : stderr);
    return argc == 2 ? 0 : 2;
  }
  try {
    const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    std::cout << study::page::svg_file(study::figures::svg(chart_of(parse_json(text, "standard input")), argv[1]));
  } catch (const nlohmann::json::exception& error) {
    std::fprintf(stderr, "dtrain_chart: standard input: %s; see --help\n", error.what());
    return 3;
  } catch (const Error& error) {
    std::fprintf(stderr, "dtrain_chart: %s\n", error.what());
    return error.exit_code();
  }
  return 0;
}
