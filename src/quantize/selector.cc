#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "quantize/recipe.h"

namespace aquatint {
namespace {

// Whether `text` matches a pattern of plain characters, * and ?. Going back to the last star
// suffices, so that the time is the product of the lengths at most.
bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

}  // namespace

Selector Selector::parse(const std::string& text) {
  Selector selector;
  selector.text_ = text;
  const auto colon = text.find(':');
  const std::string kind = colon == std::string::npos ? "" : text.substr(0, colon);
  selector.pattern_ = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (selector.pattern_.empty() || (kind != "role" && kind != "name" && kind != "re")) {
    raise(ErrorKind::kInvalidArgument,
          "selector '{}': expected role:ROLE, name:GLOB or re:EXPRESSION", printable(text));
  }
  if (kind == "role") {
    const auto role = role_from_name(selector.pattern_);
    if (!role) {
      const std::string near = nearest_word(selector.pattern_, role_names());
      raise(ErrorKind::kInvalidArgument, "selector '{}': no role '{}'{}", printable(text),
            printable(selector.pattern_),
            near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
    }
    selector.role_ = *role;
  } else if (kind == "name") {
    selector.kind_ = Kind::kGlob;
  } else {
    selector.kind_ = Kind::kRegex;
    try {
      const std::string origin = printable(text);
      const NamePattern alone(selector.pattern_, origin);  // is right without the parentheses
      selector.expression_.emplace("(?:" + selector.pattern_ + ")\\z", origin);
    } catch (const Error& error) {
      raise(ErrorKind::kInvalidArgument, "selector {}", error.what());
    }
  }
  return selector;
}

bool Selector::matches(const std::string& module, Role role) const {
  switch (kind_) {
    case Kind::kRole:
      return role == role_;
    case Kind::kGlob:
      return glob_matches(pattern_, module);
    case Kind::kRegex:
      return expression_->matches(module);
  }
  return false;
}

std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    std::vector<std::size_t> row(candidate.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (std::size_t i = 0; i < word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i + 1;
      for (std::size_t j = 0; j < candidate.size(); ++j) {
        const std::size_t substitute = diagonal + (word[i] == candidate[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, substitute});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace aquatint
