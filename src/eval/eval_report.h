// Results of evaluations for machines, as JSON, and for people, as aligned lines of text. Both
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

// A heading and one line per result: perplexities, and below them, if there are any, divergences.
std::vector<std::string> eval_table(std::span<const EvalResult> results);

}  // namespace aquatint
