// Questions to a Hub: which commit and files a repository has, and what one file is. Addresses and
// headers are those of huggingface.co, which mirrors and local servers imitate.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/http.h"
#include "hub/repo_name.h"
#include "hub/settings.h"

namespace aquatint::hub {

struct RepoInfo {
  std::string commit;
  std::vector<std::string> files;
};

// Reads what a Hub answers when asked for a repository: a JSON text with "sha" and "siblings".
// Error kCorrupt naming `origin`; so no name leads out of a folder that it is put in.
RepoInfo parse_repo_info(std::string_view text, const std::string& origin);

struct FileInfo {
  std::string name;
  std::string etag;        // of the contents, the name of the blob
  std::uint64_t size = 0;  // bytes
};

// Where a file's contents are asked for, and whether the token may go there.
struct FileAddress {
  std::string url;
  bool with_token = true;
};

// The requests of one thread. Every error names the repository.
class Client {
 public:
  explicit Client(const Settings& settings);

  // GET /api/models/NAME/revision/REVISION. Error kNotFound for no such repository or revision, kIo
  // when it may not be read or the Hub cannot be reached, kCorrupt for an answer that makes no
  // sense.
  RepoInfo repo_info(const RepoName& repo);
  // HEAD /NAME/resolve/COMMIT/FILE. Nothing when the commit has no such file; errors as above.
  std::optional<FileInfo> file_info(const RepoName& repo, const std::string& commit,
                                    const std::string& file);
  // Asks for bytes of a file at `address`, following redirects, which are remembered in `address`:
  // the token goes with it as long as the origin is that of the endpoint, and never again once it
  // was not.
  HttpResponse read(FileAddress& address, std::uint64_t begin, std::optional<std::uint64_t> end,
                    const BodySink& sink);
  // Contents of a small text file, not kept and not checked. Errors as above.
  std::string small_file(const RepoName& repo, const std::string& commit, const std::string& file);
  FileAddress address_of(const RepoName& repo, const std::string& commit,
                         const std::string& file) const;
  // Throws what a refusal means, to be called with a status of 400 and more.
  [[noreturn]] void refuse(const RepoName& repo, const std::string& file,
                           const HttpResponse& response) const;

  const Settings& settings() const { return settings_; }

 private:
  HttpResponse ask(FileAddress& address, bool head, const std::string& what);
  std::string next_address(const FileAddress& from, const HttpResponse& response) const;
  void move_to(FileAddress& address, const std::string& url) const;
  Settings settings_;
  HttpConnection questions_, transfers_;  // they differ in how much silence they bear
};

}  // namespace aquatint::hub
