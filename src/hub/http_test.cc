#include "hub/http.h"

#include <gtest/gtest.h>

#include "formats/test_support.h"
#include "hub/client.h"
#include "hub/download.h"
#include "hub/retries.h"

namespace aquatint::hub {
namespace {

using testing::expect_error;

TEST(Url, Redirects) {
  const std::string base = "https://hub.example/org/model/resolve/main/a.bin?x=1";
  EXPECT_EQ(resolve_url(base, "/other/place"), "https://hub.example/other/place");
  EXPECT_EQ(resolve_url(base, "b.bin"), "https://hub.example/org/model/resolve/main/b.bin");
  EXPECT_EQ(resolve_url(base, "//cdn.example/x"), "https://cdn.example/x");
  EXPECT_EQ(resolve_url(base, "http://cdn.example/a%20b?s=%2F"), "http://cdn.example/a%20b?s=%2F");
  for (const char* bad : {"ftp://a/b", "file:///etc/passwd", "http://"}) {
    EXPECT_EQ(resolve_url(base, bad), "") << bad;
  }
}

// The token goes to one origin only: another scheme, host or port is another.
TEST(Url, Origins) {
  EXPECT_EQ(url_origin("https://Hub.Example/a/b?c"), "https://hub.example:443");
  EXPECT_EQ(url_origin("https://hub.example:443/x"), url_origin("https://hub.example"));
  EXPECT_NE(url_origin("http://hub.example"), url_origin("https://hub.example"));
  EXPECT_NE(url_origin("https://hub.example:8443"), url_origin("https://hub.example"));
  EXPECT_NE(url_origin("https://hub.example.evil"), url_origin("https://hub.example"));
  EXPECT_EQ(url_origin("https://hub.example@evil/"), "https://evil:443");
  EXPECT_EQ(url_origin("no address"), "");
}

TEST(Url, Escapes) {
  EXPECT_EQ(url_escape("a/b c+%.bin", true), "a/b%20c%2B%25.bin");
  EXPECT_EQ(url_escape("refs/pr/1", false), "refs%2Fpr%2F1");
  EXPECT_EQ(url_escape("ä?#", true), "%C3%A4%3F%23");
}

TEST(Headers, RetryAfter) {
  EXPECT_EQ(retry_after_seconds("3"), 3.0);
  EXPECT_EQ(retry_after_seconds("-3"), 0.0);
  EXPECT_EQ(retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT"), 0.0);
  EXPECT_GT(retry_after_seconds("Wed, 21 Oct 2037 07:28:00 GMT").value_or(0), 1e6);
  for (const char* bad : {"", "soon", "nan", "inf"})
    EXPECT_EQ(retry_after_seconds(bad), std::nullopt);
}

TEST(Headers, ContentRange) {
  EXPECT_EQ(first_byte_of("bytes 100-199/1000"), 100u);
  EXPECT_EQ(first_byte_of("bytes 0-0/*"), 0u);
  for (const char* bad : {"", "bytes", "bytes ", "bytes */100", "bytes -5/9", "bytes 5",
                          "items 1-2/3", "bytes 99999999999999999999-1/2"}) {
    EXPECT_EQ(first_byte_of(bad), std::nullopt) << bad;
  }
}

TEST(Retries, OnlyWhatMayPassAndNotForEver) {
  HttpResponse response;
  for (const int status : {429, 500, 502, 503, 504, 408}) {
    response.status = status;
    EXPECT_TRUE(Retries::may_pass(response)) << status;
  }
  for (const int status : {200, 206, 302, 400, 401, 403, 404, 416, 501}) {
    response.status = status;
    EXPECT_FALSE(Retries::may_pass(response)) << status;
  }
  response.failure = "connection reset";
  EXPECT_TRUE(Retries::may_pass(response));
  response.failure_lasts = true;
  EXPECT_FALSE(Retries::may_pass(response));
  Patience patience;
  patience.tries = 3;
  patience.first_seconds = 0.001;
  Retries retries(patience, "x");
  EXPECT_TRUE(retries.again(response));
  EXPECT_TRUE(retries.again(response));
  EXPECT_FALSE(retries.again(response));
  retries.arrived();
  EXPECT_TRUE(retries.again(response));
  std::atomic<bool> stop{true};
  Retries stopped(patience, "x", &stop);
  EXPECT_FALSE(stopped.again(response));
  response.headers["retry-after"] = "1000";
  expect_error(ErrorKind::kIo, "16m 40s", [&] { retries.again(response); });
}

TEST(RepoInfo, AnswersOfAServer) {
  const RepoInfo info = parse_repo_info(
      R"({"sha": "abc", "siblings": [{"rfilename": "a/b"}, {"rfilename": "c", "size": 1}]})", "x");
  EXPECT_EQ(info.commit, "abc");
  EXPECT_EQ(info.files, (std::vector<std::string>{"a/b", "c"}));
  EXPECT_TRUE(parse_repo_info(R"({"sha": "abc"})", "x").files.empty());
  for (const char* bad : {"", "<html>", "{}", R"({"sha": 1})", R"({"sha": "../x"})",
                          R"({"sha": ""})", R"({"sha": "a", "siblings": ["x"]})",
                          R"({"sha": "a", "siblings": [{"rfilename": "../x"}]})"}) {
    expect_error(ErrorKind::kCorrupt, "the-answer", [&] { parse_repo_info(bad, "the-answer"); });
  }
}

// Nobody listens there: a failure in the response, not an exception.
TEST(HttpConnection, ReportsFailures) {
  HttpConnection connection({"test", "", 2});
  HttpRequest request;
  request.url = "http://127.0.0.1:9/";
  request.token = "secret";
  const HttpResponse response = connection.perform(request);
  EXPECT_EQ(response.status, 0);
  EXPECT_NE(response.failure, "");
  EXPECT_EQ(response.failure.find("secret"), std::string::npos);
  request.url = "file:///etc/hostname";
  EXPECT_NE(connection.perform(request).failure, "");
}

}  // namespace
}  // namespace aquatint::hub
