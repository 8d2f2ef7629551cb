// Results of evaluations for machines, as JSON, and for people, as lines of text. Both
// always carry protocol, window, token counts and the policy about the beginning-of-text token.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "eval/tasks.h"

namespace aquatint {

// Objects with the fields of the structures; measures that a protocol does not define are null.
nlohmann::json to_json(const PerplexityResult& result);
nlohmann::json to_json(const DivergenceResult& result);
nlohmann::json to_json(const EvalResult& result);

// For each result a heading that says what was measured and how, and a line per measure, none
// longer than what a terminal of 100 columns shows.
std::vector<std::string> eval_lines(std::span<const EvalResult> results);

}  // namespace aquatint
