// The text that travels inside the program (assets/text/sample.txt, embedded by the build): what a
// model is calibrated on when nobody names a better one.
#pragma once

#include <string_view>

namespace aquatint {

std::string_view sample_text();

}  // namespace aquatint
