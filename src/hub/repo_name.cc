#include "hub/repo_name.h"

#include <algorithm>

#include "base/error.h"

namespace aquatint::hub {
namespace {

constexpr std::size_t kLongestPart = 96;
constexpr std::size_t kLongestRevision = 255;

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Why the part of a name is none; empty when it is one.
std::string fault_of_part(std::string_view part) {
  if (part.empty()) return "a part of the name is empty";
  if (part.size() > kLongestPart) {
    return fmt::format("a part of the name has more than {} characters", kLongestPart);
  }
  const bool known = std::all_of(part.begin(), part.end(), [](char c) {
    return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
  });
  if (!known) return "names consist of letters, digits, '-', '_' and '.'";
  const auto edge = [](char c) { return is_alphanumeric(c) || c == '_'; };
  if (!edge(part.front()) || !edge(part.back()))
    return "names neither begin nor end with '-' or '.'";
  if (part.find("--") != part.npos || part.find("..") != part.npos) {
    return "names contain neither '--' nor '..'";
  }
  return "";
}

std::string fault_of(const RepoName& repo) {
  const std::size_t slash = repo.name.find('/');
  std::string fault = fault_of_part(std::string_view(repo.name).substr(0, slash));
  if (fault.empty() && slash != std::string::npos)
    fault = fault_of_part(repo.name.substr(slash + 1));
  if (fault.empty() && repo.name.ends_with(".git")) fault = "names do not end with '.git'";
  if (fault.empty() && (repo.revision.size() > kLongestRevision || !is_safe_path(repo.revision))) {
    fault = "what follows '@' is no branch, tag or commit";
  }
  return fault;
}

RepoName split(std::string_view text) {
  RepoName repo;
  const std::size_t at = text.find('@');
  repo.name = std::string(text.substr(0, at));
  if (at != text.npos) repo.revision = std::string(text.substr(at + 1));
  return repo;
}

}  // namespace

std::string RepoName::str() const {
  return revision == "main" ? name : name + "@" + revision;
}

RepoName parse_repo_name(std::string_view text) {
  RepoName repo = split(text);
  const std::string fault = fault_of(repo);
  if (!fault.empty()) {
    raise(ErrorKind::kInvalidArgument, "'{}' is not ORG/NAME or ORG/NAME@REVISION: {}", text,
          fault);
  }
  return repo;
}

bool is_repo_name(std::string_view text) {
  const RepoName repo = split(text);
  return repo.name.find('/') != std::string::npos && fault_of(repo).empty();
}

bool is_safe_path(std::string_view path) {
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '\\') return false;
  }
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

}  // namespace aquatint::hub
