// JSON text as Python's json module reads and writes it: the literals NaN, Infinity and -Infinity,
// which standard JSON lacks, are accepted and can be written. In the tree they are {"__float__":
// "NaN"}, the spelling of newer transformers, so that one form is left to deal with.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace aquatint {

// Parses any JSON value nested at most 64 levels deep; `bare_nonfinite`, if not null, is set to
// whether the literals occurred. Error kCorrupt: "'config.json': line 3, column 7: …".
nlohmann::json parse_json(std::string_view text, const std::string& origin,
                          bool* bare_nonfinite = nullptr);

// Indented JSON text ending in a newline. With `bare_nonfinite`, {"__float__": "NaN"} is written as
// NaN and so on: what a file was read with, it should be written with, as older readers know only
// one of the two. Strings are valid UTF-8, or error kInvalidArgument.
std::string json_text(const nlohmann::json& value, bool bare_nonfinite = false);

}  // namespace aquatint
