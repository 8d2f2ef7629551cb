// Text from hostile files as error messages may show it: control characters (which could drive a
// terminal) are escaped, and long text is cut, so that a message stays one readable line.
#pragma once

#include <string>
#include <string_view>

namespace aquatint {

// At most about `limit` bytes, cut between UTF-8 characters and marked with an ellipsis.
std::string printable(std::string_view text, std::size_t limit = 200);

}  // namespace aquatint
