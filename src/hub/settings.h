// Where the Hub is, who asks, and where downloads are kept, by the environment variables that the
// Python library huggingface_hub reads, so that both find the same files.
#pragma once

#include <filesystem>
#include <string>

namespace aquatint::hub {

// How often and how long a request is tried again. Tests are less patient.
struct Patience {
  int tries = 6;                // in a row without a new byte
  double first_seconds = 0.5;   // of the first wait; each next one is twice as long
  double longest_seconds = 10;  // of a wait
  double longest_asked = 300;   // of a wait that a server asks for (Retry-After); beyond: an error
};

struct Settings {
  std::string endpoint = "https://huggingface.co";  // without a slash at the end
  std::string token;                                // sent to the endpoint only, shown to nobody
  std::filesystem::path cache;                      // holds models--ORG--NAME
  bool offline = false;
  std::string ca_file;  // certificates to trust instead of the system's; empty: the system's
  std::string user_agent = "aquatint";
  double metadata_seconds = 10;  // silence that ends a question
  double download_seconds = 20;  // silence that ends a transfer, which is then tried again
  Patience patience;

  // HF_ENDPOINT; HF_TOKEN, HUGGING_FACE_HUB_TOKEN or the file HF_TOKEN_PATH ($HF_HOME/token);
  // HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or
  // ~/.cache/huggingface/hub; HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE; HF_HUB_ETAG_TIMEOUT and
  // HF_HUB_DOWNLOAD_TIMEOUT in seconds; REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE. Error
  // kInvalidArgument naming the variable that cannot be honoured.
  static Settings from_environment();
};

}  // namespace aquatint::hub
