// White space as Python's str methods and regular expressions understand it in UTF-8 text, which
// the definitions of evaluation tasks rest on.
#pragma once

#include <cstddef>
#include <string_view>

namespace aquatint {

// Bytes of the white-space character at `position`, 0 if there is none.
std::size_t python_space_at(std::string_view text, std::size_t position);

// The text without white space at both ends.
std::string_view python_strip(std::string_view text);

}  // namespace aquatint
