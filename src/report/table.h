// Text tables for people: aligned columns, numbers to the right.
#pragma once

#include <string>
#include <vector>

namespace aquatint {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // Lines with a rule under the header; columns whose cells all start with a digit, sign or "-" are
  // aligned to the right.
  std::string str() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace aquatint
