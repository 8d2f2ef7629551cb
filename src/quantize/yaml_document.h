// Reading YAML text that holds one document. yaml-cpp's LoadAll, which could tell how many there
// are, never ends on text like "," and takes all memory (its issues 499 and 1040; fixed after
// version 0.8), so documents are read one by one and never more than two.
#pragma once

#include <string>
#include <string_view>

namespace YAML {
class Node;
}

namespace aquatint {

// The only document of `yaml`; a null node when there is none. Error kInvalidArgument with the line
// for text that is not YAML and for a second document; `origin` is what the message calls the text.
YAML::Node single_yaml_document(std::string_view yaml, const std::string& origin);

}  // namespace aquatint
