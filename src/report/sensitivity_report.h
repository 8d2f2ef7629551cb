// A sensitivity analysis for machines, as JSON; for people, as a table with what to make of it; and
// as a picture.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "eval/sensitivity.h"
#include "report/bar_chart.h"

namespace aquatint {

nlohmann::json to_json(const SensitivityResult& result);

// The units, costliest first, and everything; how it was measured; which units to keep, and the
// lines of a recipe that keep them.
std::string sensitivity_text(const SensitivityResult& result);

// For each unit its share of the divergence and of the bytes saved; the most there is room for.
BarChart sensitivity_chart(const SensitivityResult& result, const std::string& title);

}  // namespace aquatint
