#include "hub/settings.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <initializer_list>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/trimmed.h"

namespace aquatint::hub {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The first of the variables that is set to something; `name` is set to which.
std::string first_of(std::initializer_list<const char*> names, std::string* name = nullptr) {
  for (const char* each : names) {
    if (std::string value = variable(each); !value.empty()) {
      if (name != nullptr) *name = each;
      return value;
    }
  }
  return "";
}

bool is_true(std::string value) {
  std::transform(value.begin(), value.end(), value.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

bool in_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// "~" and "$NAME" or "${NAME}" as a shell would; variables that are not set stay as they are.
std::string expanded(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    if (i == 0 && text[i] == '~' && (text.size() == 1 || text[1] == '/')) {
      const std::string home = variable("HOME");
      result += home.empty() ? "~" : home;
      ++i;
      continue;
    }
    if (text[i] == '$') {
      const bool braces = i + 1 < text.size() && text[i + 1] == '{';
      const std::size_t begin = i + (braces ? 2 : 1);
      std::size_t end = begin;
      while (end < text.size() && in_name(text[end])) ++end;
      const std::string name = text.substr(begin, end - begin);
      const bool closed = !braces || (end < text.size() && text[end] == '}');
      if (closed && !name.empty() && std::getenv(name.c_str()) != nullptr) {
        result += variable(name.c_str());
        i = end + (braces ? 1 : 0);
        continue;
      }
    }
    result += text[i++];
  }
  return result;
}

fs::path home_folder() {
  if (const std::string home = variable("HF_HOME"); !home.empty()) return expanded(home);
  if (const std::string xdg = variable("XDG_CACHE_HOME"); !xdg.empty()) {
    return fs::path(expanded(xdg)) / "huggingface";
  }
  return fs::path(expanded("~/.cache")) / "huggingface";
}

// The token is named by where it comes from only: it must appear in no message.
std::string read_token() {
  if (is_true(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return "";
  std::string origin;
  std::string token =
      std::string(trimmed(first_of({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}, &origin)));
  if (token.empty()) {
    const std::string named = variable("HF_TOKEN_PATH");
    const fs::path file = named.empty() ? home_folder() / "token" : fs::path(expanded(named));
    std::error_code error;
    if (!fs::is_regular_file(file, error)) return "";
    origin = file.string();
    constexpr std::size_t kLongest = 1 << 16;
    token = std::string(trimmed(read_text_file(file, kLongest)));
  }
  const bool plain =
      std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 127; });
  if (!plain) {
    raise(ErrorKind::kInvalidArgument,
          "'{}': the token holds blanks or characters that no token has", origin);
  }
  return token;
}

double seconds(const char* name, double fallback) {
  const std::string text = variable(name);
  if (text.empty()) return fallback;
  double value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  constexpr double kMost = 1e6;
  if (result.ec != std::errc() || result.ptr != text.data() + text.size() || !(value >= 0) ||
      value > kMost) {
    raise(ErrorKind::kInvalidArgument, "{} is '{}', expected seconds", name, text);
  }
  return value == 0 ? fallback : value;
}

std::string read_endpoint(std::string fallback) {
  std::string endpoint = variable("HF_ENDPOINT");
  if (endpoint.empty()) return fallback;
  while (endpoint.ends_with('/')) endpoint.pop_back();
  const bool http = endpoint.starts_with("http://") || endpoint.starts_with("https://");
  const bool plain = std::all_of(endpoint.begin(), endpoint.end(),
                                 [](char c) { return c > ' ' && c < 127 && c != '@'; });
  if (!http || !plain) {
    raise(ErrorKind::kInvalidArgument,
          "HF_ENDPOINT is '{}', expected http:// or https:// and a host", endpoint);
  }
  return endpoint;
}

}  // namespace

Settings Settings::from_environment() {
  Settings settings;
  settings.endpoint = read_endpoint(settings.endpoint);
  settings.token = read_token();
  const std::string cache = first_of({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"});
  settings.cache = cache.empty() ? home_folder() / "hub" : fs::path(expanded(cache));
  settings.offline = is_true(first_of({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}));
  settings.ca_file = expanded(first_of({"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"}));
  settings.metadata_seconds = seconds("HF_HUB_ETAG_TIMEOUT", settings.metadata_seconds);
  settings.download_seconds = seconds("HF_HUB_DOWNLOAD_TIMEOUT", settings.download_seconds);
  return settings;
}

}  // namespace aquatint::hub
