#include "report/bar_chart.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace aquatint {
namespace {

// Pixels.
constexpr double kMargin = 16, kTop = 92, kRow = 30, kBar = 10, kBars = 380;
constexpr double kCharacter = 7.0;  // mean width at 12 px
constexpr const char* kFirst = "#2b5c8a";
constexpr const char* kMarked = "#c2492e";
constexpr const char* kSecond = "#b9c6d2";
constexpr const char* kGrey = "#5a6570";

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '&':
        result += "&amp;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return result;
}

std::string text_at(double x, double y, const std::string& text, const char* style) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, style, escaped(text));
}

std::string rectangle(double x, double y, double width, double height, const char* color) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x, y,
      width, height, color);
}

std::string line(double x1, double y1, double x2, double y2, const char* color) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2,
      y2, color);
}

// 1, 2 or 5 times a power of ten, so that about five of them make `greatest`.
double tick_step(double greatest) {
  const double power = std::pow(10.0, std::floor(std::log10(greatest / 5)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (greatest / (factor * power) <= 6) return factor * power;
  }
  return 10 * power;
}

struct Layout {
  double names = 0, notes = 0, greatest = 0, bottom = 0;
  double width() const { return kMargin + names + 8 + kBars + 12 + notes + kMargin; }
  double x(double value) const { return kMargin + names + 8 + value / greatest * kBars; }
};

Layout layout_of(const BarChart& chart) {
  Layout layout;
  for (const BarRow& row : chart.rows) {
    layout.names = std::max(layout.names, kCharacter * static_cast<double>(row.name.size()));
    layout.notes = std::max(layout.notes, kCharacter * static_cast<double>(row.note.size()));
    layout.greatest = std::max({layout.greatest, row.first + row.first_error, row.second});
  }
  if (layout.greatest <= 0) layout.greatest = 1;
  layout.bottom = kTop + kRow * static_cast<double>(chart.rows.size());
  return layout;
}

std::string axis(const Layout& layout) {
  std::string svg;
  const double step = tick_step(layout.greatest);
  for (int i = 0; i * step <= layout.greatest * 1.0001; ++i) {
    const double x = layout.x(i * step);
    svg += line(x, kTop - 4, x, layout.bottom, "#e3e7eb");
    svg += text_at(x, layout.bottom + 16, fmt::format("{:g} %", 100 * i * step),
                   "text-anchor=\"middle\" font-size=\"11\" fill=\"#5a6570\"");
  }
  return svg;
}

std::string legend(const BarChart& chart, double x) {
  std::string svg;
  const auto entry = [&](const char* color, const std::string& text) {
    if (text.empty()) return;
    svg += rectangle(x, 62, 10, 10, color);
    svg += text_at(x + 15, 71, text, "font-size=\"12\" fill=\"#5a6570\"");
    x += 15 + kCharacter * static_cast<double>(text.size()) + 14;
  };
  entry(kFirst, chart.first);
  entry(kMarked, chart.marked);
  entry(kSecond, chart.second);
  return svg;
}

std::string bars(const BarRow& row, double top, const Layout& layout) {
  const double zero = layout.x(0), middle = top + kRow / 2;
  std::string svg = text_at(kMargin + layout.names, middle + 4, row.name,
                            row.marked ? "text-anchor=\"end\" font-size=\"12\" font-weight=\"bold\""
                                       : "text-anchor=\"end\" font-size=\"12\"");
  svg += rectangle(zero, middle - kBar - 0.5, layout.x(row.first) - zero, kBar,
                   row.marked ? kMarked : kFirst);
  svg += rectangle(zero, middle + 0.5, layout.x(row.second) - zero, kBar, kSecond);
  if (row.first_error > 0) {
    const double y = middle - kBar / 2 - 0.5;
    svg += line(layout.x(std::max(0.0, row.first - row.first_error)), y,
                layout.x(row.first + row.first_error), y, "#20262b");
  }
  svg += text_at(layout.x(layout.greatest) + 12, middle + 4, row.note,
                 "font-size=\"12\" fill=\"#5a6570\"");
  return svg;
}

}  // namespace

std::string bar_chart_svg(const BarChart& chart) {
  const Layout layout = layout_of(chart);
  const double heading =
      kCharacter * static_cast<double>(std::max(chart.title.size() * 9 / 8, chart.subtitle.size()));
  const double width = std::max(layout.width(), heading + 2 * kMargin);
  const double height = layout.bottom + 16 + kMargin;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"DejaVu Sans, Verdana, sans-serif\" "
      "fill=\"#20262b\">\n",
      width, height);
  svg += rectangle(0, 0, width, height, "#ffffff");
  svg += text_at(kMargin, 26, chart.title, "font-size=\"15\" font-weight=\"bold\"");
  svg += text_at(kMargin, 46, chart.subtitle, "font-size=\"12\" fill=\"#5a6570\"");
  svg += legend(chart, kMargin) + axis(layout);
  for (std::size_t i = 0; i < chart.rows.size(); ++i) {
    svg += bars(chart.rows[i], kTop + kRow * static_cast<double>(i), layout);
  }
  return svg + line(layout.x(0), kTop - 4, layout.x(0), layout.bottom, kGrey) + "</svg>\n";
}

}  // namespace aquatint
