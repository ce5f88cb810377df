#include "bench/chart.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "bench/child.h"
#include "bench/report.h"
#include "monitor/cpu/fault.h"

namespace ring3::bench {
namespace {

constexpr double kWidth = 860, kLabels = 170, kNumbers = 60, kTop = 64, kBar = 11, kGap = 9, kBottom = 34;
constexpr const char* kColours[] = {"#1f6feb", "#d9822b", "#57606a", "#8250df", "#2da44e", "#cf222e"};

/// Where values lie between the left and the right end.
struct Axis {
  double low, high;  // powers of ten
  double At(double value) const {
    const double part = std::log(value / low) / std::log(high / low);
    return kLabels + std::clamp(part, 0.0, 1.0) * (kWidth - kLabels - kNumbers);
  }
};

std::optional<Axis> AxisOf(const Chart& chart) {
  double least = chart.mark.value_or(INFINITY), most = chart.mark.value_or(0);
  for (const Bars& row : chart.rows) {
    for (const auto& value : row.values) {
      if (!value || *value <= 0) continue;
      least = std::min(least, *value);
      most = std::max(most, *value);
    }
  }
  if (!(most > 0)) return std::nullopt;
  Axis axis{std::pow(10, std::floor(std::log10(least))), std::pow(10, std::ceil(std::log10(most)))};
  if (axis.high <= axis.low) axis.high = axis.low * 10;
  return axis;
}

std::string Text(double x, double y, const char* anchor, int size, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-size=\"{}\">{}</text>\n", x, y, anchor,
                     size, text);
}

std::string Legend(const Chart& chart) {
  std::string out;
  double x = kLabels;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    out += fmt::format("<rect x=\"{}\" y=\"34\" width=\"10\" height=\"10\" fill=\"{}\"/>\n", x,
                       kColours[i % std::size(kColours)]);
    out += Text(x + 15, 43, "start", 12, chart.series[i]);
    x += 40 + 7.0 * static_cast<double>(chart.series[i].size());
  }
  return out;
}

std::string Grid(const Chart& chart, const Axis& axis, double height) {
  std::string out;
  for (double value = axis.low; value <= axis.high * 1.01; value *= 10) {
    const double x = axis.At(value);
    out += fmt::format("<line x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"#d0d7de\"/>\n", x,
                       kTop - 8, height - kBottom + 4);
    out += Text(x, height - kBottom + 18, "middle", 11, fmt::format("{:g}", value));
  }
  if (chart.mark) {
    out += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"#24292f\" stroke-dasharray=\"4 3\"/>\n",
        axis.At(*chart.mark), kTop - 8, height - kBottom + 4);
  }
  return out;
}

}  // namespace

std::string BarChartSvg(const Chart& chart) {
  const auto axis = AxisOf(chart);
  if (!axis) return "";
  const double row_height = kBar * static_cast<double>(chart.series.size()) + kGap;
  const double height = kTop + row_height * static_cast<double>(chart.rows.size()) + kBottom;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1:.0f}\" viewBox=\"0 0 {0} {1:.0f}\" "
      "font-family=\"sans-serif\" fill=\"#24292f\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      kWidth, height);
  out += Text(10, 22, "start", 15, chart.title) + Text(kWidth - 10, height - 4, "end", 11, chart.axis);
  out += Legend(chart) + Grid(chart, *axis, height);
  double y = kTop;
  for (const Bars& row : chart.rows) {
    out += Text(kLabels - 8, y + (row_height - kGap) / 2 + 4, "end", 12, row.label);
    for (size_t i = 0; i < row.values.size(); ++i, y += kBar) {
      if (!row.values[i] || *row.values[i] <= 0) continue;
      const double end = axis->At(*row.values[i]);
      out += fmt::format("<rect x=\"{}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"/>\n", kLabels, y,
                         std::max(1.0, end - kLabels), kBar - 1, kColours[i % std::size(kColours)]);
      out += Text(std::max(end, kLabels + 1) + 4, y + kBar - 2, "start", 10, ShortNumber(*row.values[i]));
    }
    y += kGap;
  }
  return out + "</svg>\n";
}

void WriteChart(const Chart& chart, const std::string& folder, const std::string& name) {
  const std::string svg = BarChartSvg(chart), path = folder + "/" + name;
  if (svg.empty()) return;
  std::ofstream file(path + ".svg");
  file << svg;
  file.close();
  if (!file) throw UsageError(fmt::format("bench --docs: {}.svg cannot be written", path));
  if (HasProgram("rsvg-convert")) RunChild({"rsvg-convert", "-o", path + ".png", path + ".svg"}, 60);
}

}  // namespace ring3::bench
