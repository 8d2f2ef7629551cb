// One HTTP or HTTPS request at a time over a connection that stays open. This is the only part that
// knows the library (libcurl); it follows no redirects and tries nothing again, because who may see
// the token and what is worth another try is decided above it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace aquatint::hub {

struct HttpRequest {
  std::string url;
  bool head = false;  // headers only
  std::string token;  // sent as "Authorization: Bearer"; empty: none
  std::uint64_t begin = 0;
  std::optional<std::uint64_t> end;  // set: asks for bytes [begin, end) only
};

struct HttpResponse {
  int status = 0;                              // 0: no answer
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // what the sink did not take, at most some MiB
  std::string failure;  // why the transfer did not end well; empty if it did. Never has the token
  bool failure_lasts = false;  // it would fail again: an address or a certificate is wrong
  // Empty when there is no such header.
  std::string header(const std::string& name) const;
  bool is_redirect() const;
};

// Takes the body as it comes, once the headers are known; false ends the transfer.
using BodySink = std::function<bool(const HttpResponse& so_far, std::string_view bytes)>;

struct HttpOptions {
  std::string user_agent;
  std::string ca_file;          // empty: the system's certificates
  double silence_seconds = 20;  // a server that sends nothing for so long ends the transfer
};

class HttpConnection {
 public:
  explicit HttpConnection(HttpOptions options);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  // Whatever happens is in the response. An exception of the sink ends the transfer and is thrown
  // on.
  HttpResponse perform(const HttpRequest& request, const BodySink& sink = {});

 private:
  struct Transfer;
  struct Handle;
  HttpOptions options_;
  std::unique_ptr<Handle> handle_;
};

// `location` seen from `base`, as in a redirect; empty when it is no HTTP address.
std::string resolve_url(const std::string& base, const std::string& location);
// "https://host:port" of an address, in lower case: who is asked. Empty when it has none.
std::string url_origin(const std::string& url);
// Percent-encodes everything but letters, digits and "-._~", and '/' when `slashes` are kept.
std::string url_escape(std::string_view text, bool slashes);
// Seconds that a Retry-After header asks to wait: a number, or a date, from now. Empty when it is
// neither.
std::optional<double> retry_after_seconds(const std::string& header);

}  // namespace aquatint::hub
