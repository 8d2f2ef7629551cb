// Names of model repositories on a Hub: "ORG/NAME" or "ORG/NAME@revision".
#pragma once

#include <string>
#include <string_view>

namespace aquatint::hub {

struct RepoName {
  std::string name;               // "org/model"; older repositories have no organization
  std::string revision = "main";  // branch, tag or commit
  // As the user may write it: without the revision when that is main.
  std::string str() const;
};

// Reads "ORG/NAME[@revision]" or "NAME[@revision]" by the rules that the Hub has for names:
// letters, digits, '-', '_' and '.', at most 96 characters a part, neither "--" nor "..". Error
// kInvalidArgument says which rule the text breaks.
RepoName parse_repo_name(std::string_view text);

// Whether the text is "ORG/NAME[@revision]", organization included: what verbs take as a model when
// no such folder exists.
bool is_repo_name(std::string_view text);

// Whether a path from a server may be used below a folder of ours: relative, no "." or ".." or
// empty part, no backslash or control character.
bool is_safe_path(std::string_view path);

}  // namespace aquatint::hub
