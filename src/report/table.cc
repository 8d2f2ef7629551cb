#include "report/table.h"

#include <algorithm>
#include <cctype>

namespace aquatint {
namespace {

// Characters as a terminal shows them: UTF-8 continuation bytes take no column.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

bool looks_numeric(const std::string& cell) {
  if (cell.empty()) return true;
  const char c = cell[0];
  return std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '+';
}

}  // namespace

std::string Table::str() const {
  std::size_t columns = 0;
  for (const auto& row : rows_) columns = std::max(columns, row.size());
  std::vector<std::size_t> widths(columns, 0);
  std::vector<bool> numeric(columns, rows_.size() > 1);
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    for (std::size_t c = 0; c < rows_[r].size(); ++c) {
      widths[c] = std::max(widths[c], width(rows_[r][c]));
      if (r > 0 && !looks_numeric(rows_[r][c])) numeric[c] = false;
    }
  }
  std::string text;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    std::string line;
    for (std::size_t c = 0; c < rows_[r].size(); ++c) {
      const std::string& cell = rows_[r][c];
      const std::string padding(widths[c] - width(cell), ' ');
      line += (c > 0 ? "  " : "") + (numeric[c] ? padding + cell : cell + padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (r > 0) continue;
    for (std::size_t c = 0; c < columns; ++c)
      text += (c > 0 ? "  " : "") + std::string(widths[c], '-');
    text += "\n";
  }
  return text;
}

}  // namespace aquatint
