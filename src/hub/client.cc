#include "hub/client.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "formats/config.h"
#include "hub/cache.h"
#include "hub/retries.h"

namespace aquatint::hub {
namespace {

constexpr int kMostRedirects = 10;
constexpr int kMostTriesOfQuestions = 4;  // nothing is lost when one fails in the end
constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 50;  // sums of sizes never overflow
constexpr int kUnauthorized = 401, kForbidden = 403, kNotThere = 404;

std::string quoted(const RepoName& repo) {
  return fmt::format("'{}'", repo.str());
}

std::optional<std::uint64_t> parse_size(const std::string& text) {
  std::uint64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole =
      result.ec == std::errc() && result.ptr == text.data() + text.size() && value <= kLargestFile;
  return !text.empty() && whole ? std::optional(value) : std::nullopt;
}

HttpOptions options_of(const Settings& settings, double silence_seconds) {
  return {settings.user_agent, settings.ca_file, silence_seconds};
}

}  // namespace

RepoInfo parse_repo_info(std::string_view text, const std::string& origin) {
  const Config answer = Config::parse(text, origin);
  RepoInfo info;
  info.commit = answer.get_string("sha");
  if (!is_safe_path(info.commit) || info.commit.find('/') != std::string::npos) {
    raise(ErrorKind::kCorrupt, "'{}': the commit '{}' can be no folder", origin,
          printable(info.commit));
  }
  for (const Config& sibling : answer.children("siblings")) {
    std::string name = sibling.get_string("rfilename");
    if (!is_safe_path(name)) {
      raise(ErrorKind::kCorrupt, "'{}': the file name '{}' leads out of the folder", origin,
            printable(name));
    }
    info.files.push_back(std::move(name));
  }
  return info;
}

Client::Client(const Settings& settings)
    : settings_(settings),
      questions_(options_of(settings, settings.metadata_seconds)),
      transfers_(options_of(settings, settings.download_seconds)) {}

// Where a redirect leads. Error kCorrupt when that is no address.
std::string Client::next_address(const FileAddress& from, const HttpResponse& response) const {
  std::string next = resolve_url(from.url, response.header("location"));
  if (next.empty()) {
    raise(ErrorKind::kCorrupt, "'{}': redirects to '{}', which is no HTTP address",
          url_origin(from.url), printable(response.header("location")));
  }
  return next;
}

void Client::move_to(FileAddress& address, const std::string& url) const {
  address.url = url;
  address.with_token = address.with_token && url_origin(url) == url_origin(settings_.endpoint);
}

// Redirects of a question are followed; those of HEAD only until one says what the file is.
HttpResponse Client::ask(FileAddress& address, bool head, const std::string& what) {
  Patience patience = settings_.patience;
  patience.tries = std::min(patience.tries, kMostTriesOfQuestions);
  Retries retries(patience, what);
  HttpResponse response;
  std::map<std::string, std::string> first_headers;
  for (int redirects = 0; redirects <= kMostRedirects;) {
    HttpRequest request;
    request.url = address.url;
    request.head = head;
    if (address.with_token) request.token = settings_.token;
    response = questions_.perform(request);
    if (Retries::may_pass(response)) {
      if (retries.again(response)) continue;
      break;
    }
    // What the Hub says of a file counts more than what a server behind it does.
    first_headers.insert(response.headers.begin(), response.headers.end());
    if (!response.is_redirect()) break;
    const std::string next = next_address(address, response);
    if (head && !response.header("x-linked-etag").empty() &&
        !response.header("x-linked-size").empty()) {
      break;
    }
    first_headers.erase("etag");  // of the redirect
    first_headers.erase("content-length");
    move_to(address, next);
    ++redirects;
  }
  if (!response.failure.empty()) {
    raise(ErrorKind::kIo, "{}: cannot read from {}: {}", what, url_origin(address.url),
          describe_failure(response));
  }
  response.headers = std::move(first_headers);
  return response;
}

RepoInfo Client::repo_info(const RepoName& repo) {
  FileAddress address{fmt::format("{}/api/models/{}/revision/{}", settings_.endpoint, repo.name,
                                  url_escape(repo.revision, false)),
                      true};
  const HttpResponse response = ask(address, false, quoted(repo));
  if (response.status != 200) refuse(repo, "", response);
  return parse_repo_info(response.body,
                         fmt::format("{}: answer of {}", repo.str(), settings_.endpoint));
}

FileAddress Client::address_of(const RepoName& repo, const std::string& commit,
                               const std::string& file) const {
  return {fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, repo.name,
                      url_escape(commit, false), url_escape(file, true)),
          true};
}

std::optional<FileInfo> Client::file_info(const RepoName& repo, const std::string& commit,
                                          const std::string& file) {
  const std::string what = fmt::format("{}: file '{}'", quoted(repo), file);
  FileAddress address = address_of(repo, commit, file);
  const HttpResponse response = ask(address, true, what);
  if (response.status == kNotThere && response.header("x-error-code") == "EntryNotFound") {
    return std::nullopt;
  }
  if (response.status >= 400) refuse(repo, file, response);
  const std::string said = response.header("x-repo-commit");
  if (!said.empty() && said != commit) {
    raise(ErrorKind::kCorrupt, "{}: the server answers with commit '{}' instead of '{}'", what,
          printable(said), commit);
  }
  const std::string linked = response.header("x-linked-etag");
  const std::string etag = linked.empty() ? response.header("etag") : linked;
  const std::string linked_size = response.header("x-linked-size");
  const auto size =
      parse_size(linked_size.empty() ? response.header("content-length") : linked_size);
  if (etag.empty() || !size) {
    raise(ErrorKind::kUnsupported,
          "{}: {} gives no {}, as a Hub does: is HF_ENDPOINT the address of one?", what,
          settings_.endpoint, etag.empty() ? "etag" : "size");
  }
  return FileInfo{file, normalize_etag(etag, what), *size};
}

std::string Client::small_file(const RepoName& repo, const std::string& commit,
                               const std::string& file) {
  FileAddress address = address_of(repo, commit, file);
  const HttpResponse response =
      ask(address, false, fmt::format("{}: file '{}'", quoted(repo), file));
  if (response.status != 200) refuse(repo, file, response);
  return response.body;
}

HttpResponse Client::read(FileAddress& address, std::uint64_t begin,
                          std::optional<std::uint64_t> end, const BodySink& sink) {
  HttpResponse response;
  for (int redirects = 0; redirects <= kMostRedirects; ++redirects) {
    HttpRequest request;
    request.url = address.url;
    request.begin = begin;
    request.end = end;
    if (address.with_token) request.token = settings_.token;
    response = transfers_.perform(request, sink);
    if (!response.failure.empty() || !response.is_redirect()) return response;
    move_to(address, next_address(address, response));
  }
  response.failure = fmt::format("more than {} redirects", kMostRedirects);
  return response;
}

void Client::refuse(const RepoName& repo, const std::string& file,
                    const HttpResponse& response) const {
  const std::string code = response.header("x-error-code");
  const std::string what =
      file.empty() ? quoted(repo) : fmt::format("{}: file '{}'", quoted(repo), file);
  if (code == "GatedRepo") {
    raise(ErrorKind::kIo, "{}: this model is gated: ask for access at {}/{}, then set HF_TOKEN{}",
          what, settings_.endpoint, repo.name,
          settings_.token.empty() ? "" : " to the token of an account that has it");
  }
  if (code == "RevisionNotFound") {
    raise(ErrorKind::kNotFound, "'{}': the repository has no branch, tag or commit '{}'", repo.name,
          repo.revision);
  }
  if (code == "EntryNotFound") raise(ErrorKind::kNotFound, "{}: there is no such file", what);
  if (response.status == kUnauthorized && code != "RepoNotFound" && !settings_.token.empty()) {
    raise(ErrorKind::kIo, "{}: {} refuses the token (401): it is wrong, expired or has no access",
          what, settings_.endpoint);
  }
  // Of what a caller may not see, a Hub says 401 or that it is not there.
  if (response.status == kUnauthorized) {
    raise(
        ErrorKind::kIo,
        "{}: no such model at {}, or one that needs a token with access to it: set HF_TOKEN (401)",
        what, settings_.endpoint);
  }
  if (response.status == kForbidden) {
    raise(ErrorKind::kIo, "{}: {} refuses access (403){}", what, settings_.endpoint,
          settings_.token.empty() ? ": set HF_TOKEN" : ": the token has no access");
  }
  if (response.status == kNotThere || code == "RepoNotFound") {
    raise(ErrorKind::kNotFound, "{}: no such model at {}{} ({})", what, settings_.endpoint,
          settings_.token.empty() ? "" : ", or one that the token has no access to",
          response.status);
  }
  raise(ErrorKind::kIo, "{}: {}: {}", what, settings_.endpoint, describe_failure(response));
}

}  // namespace aquatint::hub
