// What a server sends is understood, or an Error; names that come of it stay inside a folder, and
// patterns end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "fuzz_message.h"
#include "hub/cache.h"
#include "hub/client.h"
#include "hub/download.h"
#include "hub/glob.h"
#include "hub/http.h"
#include "hub/repo_name.h"

namespace {

template <typename Body>
void attempt(const Body& body) {
  try {
    body();
  } catch (const aquatint::Error& error) {
    aquatint::check_message(error);
  }
}

void check_inside(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.find("../") == 0 ||
      name.find("/../") != name.npos || name.ends_with("/..") || name == "..") {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace aquatint::hub;
  const std::string text(reinterpret_cast<const char*>(data), size);
  attempt([&] {
    const RepoInfo info = parse_repo_info(text, "answer");
    check_inside(info.commit);
    for (const std::string& name : info.files) check_inside(name);
    select_files(info.files, {}, {});
  });
  attempt([&] {
    for (const std::string& name : shards_of(text, "index")) check_inside(name);
  });
  attempt([&] {
    const std::string etag = normalize_etag(text, "file");
    check_inside(etag);
    if (etag.find('/') != std::string::npos) std::abort();
  });
  attempt([&] {
    const RepoName repo = parse_repo_name(text);
    check_inside(repo.name);
    check_inside(repo.revision);
  });
  const std::size_t half = size / 2;
  glob_matches(std::string_view(text).substr(0, half), std::string_view(text).substr(half));
  resolve_url("http://127.0.0.1/a", text);
  url_origin(text);
  first_byte_of(text);
  retry_after_seconds(text);
  return 0;
}
