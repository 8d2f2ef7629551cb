#include "hub/settings.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <map>
#include <string>

#include "formats/test_support.h"

namespace aquatint::hub {
namespace {

using testing::expect_error;
using testing::TempFolder;

// Every variable that settings depend on, emptied for a test and given back after it.
class SettingsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kNames) {
      if (const char* value = std::getenv(name)) before_[name] = value;
      ::unsetenv(name);
    }
    set("HOME", temp_.path().string());
  }
  void TearDown() override {
    for (const char* name : kNames) ::unsetenv(name);
    for (const auto& [name, value] : before_) set(name.c_str(), value);
  }
  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
  TempFolder temp_;

 private:
  static constexpr std::array kNames = {"HOME",
                                        "XDG_CACHE_HOME",
                                        "HF_HOME",
                                        "HF_HUB_CACHE",
                                        "HUGGINGFACE_HUB_CACHE",
                                        "HF_ENDPOINT",
                                        "HF_TOKEN",
                                        "HUGGING_FACE_HUB_TOKEN",
                                        "HF_TOKEN_PATH",
                                        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
                                        "HF_HUB_OFFLINE",
                                        "TRANSFORMERS_OFFLINE",
                                        "HF_HUB_ETAG_TIMEOUT",
                                        "HF_HUB_DOWNLOAD_TIMEOUT",
                                        "REQUESTS_CA_BUNDLE",
                                        "CURL_CA_BUNDLE",
                                        "SSL_CERT_FILE"};
  std::map<std::string, std::string> before_;
};

TEST_F(SettingsTest, Defaults) {
  const Settings settings = Settings::from_environment();
  EXPECT_EQ(settings.endpoint, "https://huggingface.co");
  EXPECT_EQ(settings.cache, temp_.path() / ".cache/huggingface/hub");
  EXPECT_EQ(settings.token, "");
  EXPECT_FALSE(settings.offline);
}

TEST_F(SettingsTest, CachesInOrder) {
  set("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(Settings::from_environment().cache, "/xdg/huggingface/hub");
  set("HF_HOME", "~/hf");
  EXPECT_EQ(Settings::from_environment().cache, temp_.path() / "hf/hub");
  set("HUGGINGFACE_HUB_CACHE", "${HF_HOME}/old");
  EXPECT_EQ(Settings::from_environment().cache, "~/hf/old");  // as os.path: ~ comes first
  set("HF_HUB_CACHE", "/a/$NO_SUCH_VARIABLE/$");
  EXPECT_EQ(Settings::from_environment().cache, "/a/$NO_SUCH_VARIABLE/$");
}

TEST_F(SettingsTest, Tokens) {
  temp_.write("token", "from file\n");
  set("HF_HOME", temp_.path().string());
  expect_error(ErrorKind::kInvalidArgument, "token", [] { Settings::from_environment(); });
  temp_.write("token", " hf_file\n");
  EXPECT_EQ(Settings::from_environment().token, "hf_file");
  temp_.write("other", "hf_other");
  set("HF_TOKEN_PATH", (temp_.path() / "other").string());
  EXPECT_EQ(Settings::from_environment().token, "hf_other");
  set("HUGGING_FACE_HUB_TOKEN", "hf_old");
  EXPECT_EQ(Settings::from_environment().token, "hf_old");
  set("HF_TOKEN", " hf_env ");
  EXPECT_EQ(Settings::from_environment().token, "hf_env");
  set("HF_HUB_DISABLE_IMPLICIT_TOKEN", "yes");
  EXPECT_EQ(Settings::from_environment().token, "");
}

TEST_F(SettingsTest, EndpointOfflineAndTimes) {
  set("HF_ENDPOINT", "http://127.0.0.1:8080/hub//");
  set("TRANSFORMERS_OFFLINE", "true");
  set("HF_HUB_ETAG_TIMEOUT", "3");
  const Settings settings = Settings::from_environment();
  EXPECT_EQ(settings.endpoint, "http://127.0.0.1:8080/hub");
  EXPECT_TRUE(settings.offline);
  EXPECT_EQ(settings.metadata_seconds, 3);
  set("HF_HUB_OFFLINE", "0");
  EXPECT_FALSE(Settings::from_environment().offline);
  for (const char* bad : {"huggingface.co", "https://a b", "https://user:word@host", "file:///x"}) {
    set("HF_ENDPOINT", bad);
    expect_error(ErrorKind::kInvalidArgument, "HF_ENDPOINT", [] { Settings::from_environment(); });
  }
}

}  // namespace
}  // namespace aquatint::hub
