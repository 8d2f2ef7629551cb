#include "hub/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace aquatint::hub {
namespace {

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

struct ContentDigest::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  explicit Context(const EVP_MD* algorithm) {
    AQUATINT_ASSERT(evp != nullptr && EVP_DigestInit_ex(evp, algorithm, nullptr) == 1);
  }
  ~Context() { EVP_MD_CTX_free(evp); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

ContentDigest::ContentDigest(std::string_view etag, std::uint64_t size) {
  constexpr std::size_t kSha256Digits = 64, kSha1Digits = 40;
  if (is_hex(etag, kSha256Digits)) {
    name_ = "sha256";
    context_ = std::make_unique<Context>(EVP_sha256());
  } else if (is_hex(etag, kSha1Digits)) {
    name_ = "git sha1";
    context_ = std::make_unique<Context>(EVP_sha1());
    const std::string header = "blob " + std::to_string(size);
    update(header.c_str(), header.size() + 1);  // with the zero byte
  }
}

ContentDigest::~ContentDigest() = default;

void ContentDigest::update(const void* data, std::size_t size) {
  if (context_ == nullptr || size == 0) return;
  AQUATINT_ASSERT(EVP_DigestUpdate(context_->evp, data, size) == 1);
}

std::string ContentDigest::hex() {
  AQUATINT_ASSERT(context_ != nullptr);
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned length = 0;
  AQUATINT_ASSERT(EVP_DigestFinal_ex(context_->evp, bytes.data(), &length) == 1);
  std::string text;
  for (unsigned i = 0; i < length; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

}  // namespace aquatint::hub
