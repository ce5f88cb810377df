// Bar charts as SVG.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace ring3::bench {

struct Bars {
  std::string label;
  std::vector<std::optional<double>> values;  // one for each series
};

struct Chart {
  std::string title, axis;
  std::vector<std::string> series;
  std::vector<Bars> rows;
  std::optional<double> mark;  // a line to compare with
};

/// Horizontal bars over a logarithmic axis, with the numbers written beside them. Empty without a positive value.
std::string BarChartSvg(const Chart& chart);

/// Writes folder/name.svg and, where rsvg-convert is installed, folder/name.png.
void WriteChart(const Chart& chart, const std::string& folder, const std::string& name);

}  // namespace ring3::bench
