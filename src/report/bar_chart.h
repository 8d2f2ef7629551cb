// A horizontal bar chart as an SVG picture, self-contained: two bars a row, side by side with what
// they say in numbers, rows from the top as they are given.
#pragma once

#include <string>
#include <vector>

namespace aquatint {

struct BarRow {
  std::string name;
  double first = 0, second = 0;  // not negative
  double first_error = 0;        // drawn as a whisker of this length to both sides
  std::string note;              // in numbers, at the right
  bool marked = false;           // stands out
};

struct BarChart {
  std::string title, subtitle;
  std::string first, second, marked;  // what the bars and the mark mean
  std::vector<BarRow> rows;
};

// All bars on one linear scale from 0 to the greatest, labelled in percent.
std::string bar_chart_svg(const BarChart& chart);

}  // namespace aquatint
