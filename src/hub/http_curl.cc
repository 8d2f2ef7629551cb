#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <exception>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/trimmed.h"
#include "hub/http.h"

namespace aquatint::hub {
namespace {

constexpr std::size_t kLargestBody = std::size_t{64} << 20;
constexpr std::size_t kMostHeaders = 1000;
constexpr long kConnectSeconds = 10;
constexpr long kBufferBytes = 256 << 10;

void start_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
      raise(ErrorKind::kIo, "libcurl cannot be started");
    }
  });
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Whether the same request would end the same way.
bool lasts(CURLcode code) {
  constexpr std::array kCodes = {CURLE_UNSUPPORTED_PROTOCOL, CURLE_URL_MALFORMAT,
                                 CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE};
  return std::find(kCodes.begin(), kCodes.end(), code) != kCodes.end();
}

class Url {
 public:
  Url() : url_(curl_url()) { AQUATINT_ASSERT(url_ != nullptr); }
  ~Url() { curl_url_cleanup(url_); }
  Url(const Url&) = delete;
  Url& operator=(const Url&) = delete;
  // A relative address is seen from the one set before.
  bool set(const std::string& text) {
    return curl_url_set(url_, CURLUPART_URL, text.c_str(), CURLU_URLENCODE) == CURLUE_OK;
  }
  std::string get(CURLUPart part, unsigned flags = 0) const {
    char* text = nullptr;
    if (curl_url_get(url_, part, &text, flags) != CURLUE_OK) return "";
    std::string result = text;
    curl_free(text);
    return result;
  }

 private:
  CURLU* url_;
};

}  // namespace

struct HttpConnection::Handle {
  CURL* curl = curl_easy_init();
  std::array<char, CURL_ERROR_SIZE> message{};
  Handle() { AQUATINT_ASSERT(curl != nullptr); }
  ~Handle() { curl_easy_cleanup(curl); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
};

// What the callbacks of one request work on.
struct HttpConnection::Transfer {
  CURL* curl = nullptr;
  const BodySink& sink;
  HttpResponse response;
  std::exception_ptr error;

  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    const std::string_view line(data, size * count);
    auto& headers = transfer.response.headers;
    if (line.starts_with("HTTP/")) {
      headers.clear();  // those before were of an interim answer or a proxy
    } else if (const std::size_t colon = line.find(':');
               colon != line.npos && headers.size() < kMostHeaders) {
      headers[lower(std::string(line.substr(0, colon)))] =
          std::string(trimmed(line.substr(colon + 1)));
    }
    return line.size();
  }

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    const std::string_view bytes(data, size * count);
    try {
      return transfer.take(bytes) ? bytes.size() : CURL_WRITEFUNC_ERROR;
    } catch (...) {
      transfer.error = std::current_exception();
      return CURL_WRITEFUNC_ERROR;
    }
  }

  bool take(std::string_view bytes) {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    response.status = static_cast<int>(status);
    if (sink && status >= 200 && status < 300) return sink(response, bytes);
    if (response.body.size() + bytes.size() > kLargestBody) return false;
    response.body += bytes;
    return true;
  }
};

HttpConnection::HttpConnection(HttpOptions options) : options_(std::move(options)) {
  start_library();
  handle_ = std::make_unique<Handle>();
}

HttpConnection::~HttpConnection() = default;

HttpResponse HttpConnection::perform(const HttpRequest& request, const BodySink& sink) {
  CURL* curl = handle_->curl;
  curl_easy_reset(curl);  // connections stay open
  Transfer transfer{curl, sink, {}, nullptr};
  const auto set = [curl](CURLoption option, auto value) {
    if (curl_easy_setopt(curl, option, value) != CURLE_OK) {
      raise(ErrorKind::kUnsupported, "libcurl refuses option {}", static_cast<int>(option));
    }
  };
  handle_->message.fill('\0');
  set(CURLOPT_ERRORBUFFER, handle_->message.data());
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_USERAGENT, options_.user_agent.c_str());
  set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, std::max(1L, std::lround(std::ceil(options_.silence_seconds))));
  set(CURLOPT_BUFFERSIZE, kBufferBytes);
  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&transfer));
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  if (!options_.ca_file.empty()) set(CURLOPT_CAINFO, options_.ca_file.c_str());
  if (request.head) set(CURLOPT_NOBODY, 1L);
  std::string range;
  if (request.end) {
    range = fmt::format("{}-{}", request.begin, *request.end - 1);
    set(CURLOPT_RANGE, range.c_str());
  }
  // Sizes and hashes are those of the plain contents.
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> lines(
      curl_slist_append(nullptr, "Accept-Encoding: identity"), &curl_slist_free_all);
  if (!request.token.empty()) {
    curl_slist_append(lines.get(), ("Authorization: Bearer " + request.token).c_str());
  }
  set(CURLOPT_HTTPHEADER, lines.get());
  const CURLcode code = curl_easy_perform(curl);
  if (transfer.error) std::rethrow_exception(transfer.error);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  transfer.response.status = static_cast<int>(status);
  if (code != CURLE_OK) {
    const char* detail = handle_->message.data();
    transfer.response.failure_lasts = lasts(code);
    transfer.response.failure = *detail != '\0' ? detail : curl_easy_strerror(code);
  }
  return std::move(transfer.response);
}

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

bool HttpResponse::is_redirect() const {
  constexpr std::array kCodes = {301, 302, 303, 307, 308};
  return std::find(kCodes.begin(), kCodes.end(), status) != kCodes.end() &&
         !header("location").empty();
}

std::string resolve_url(const std::string& base, const std::string& location) {
  Url url;
  if (!url.set(base) || !url.set(location)) return "";
  const std::string scheme = lower(url.get(CURLUPART_SCHEME));
  if (scheme != "http" && scheme != "https") return "";
  return url.get(CURLUPART_URL);
}

std::string url_origin(const std::string& text) {
  Url url;
  if (!url.set(text)) return "";
  const std::string host = url.get(CURLUPART_HOST);
  if (host.empty()) return "";
  return lower(url.get(CURLUPART_SCHEME) + "://" + host + ":" +
               url.get(CURLUPART_PORT, CURLU_DEFAULT_PORT));
}

std::string url_escape(std::string_view text, bool slashes) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter || (c >= '0' && c <= '9') || std::string_view("-._~").find(c) != std::string::npos ||
        (slashes && c == '/')) {
      result += c;
    } else {
      result += fmt::format("%{:02X}", byte);
    }
  }
  return result;
}

std::optional<double> retry_after_seconds(const std::string& header) {
  if (header.empty()) return std::nullopt;
  double seconds = 0;
  const auto result = std::from_chars(header.data(), header.data() + header.size(), seconds);
  if (result.ec == std::errc() && result.ptr == header.data() + header.size()) {
    return std::isfinite(seconds) ? std::optional(std::max(0.0, seconds)) : std::nullopt;
  }
  const std::time_t then = curl_getdate(header.c_str(), nullptr);
  if (then < 0) return std::nullopt;
  return std::max(0.0, std::difftime(then, std::time(nullptr)));
}

}  // namespace aquatint::hub
