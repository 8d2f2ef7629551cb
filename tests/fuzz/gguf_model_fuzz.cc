// Any metadata of a GGUF file gives a configuration and a tokenizer or an Error. Inputs are written
// as lines, `key=value` or `key:type=value`, so that a fuzzer reaches values and not only sizes:
// types are i (integer), f (float32), b (bool), s (strings parted by spaces), n (numbers) and none
// (text); `tensor name=shape` is a float32 tensor of zeros.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <string>

#include "base/error.h"
#include "formats/gguf_testing.h"
#include "formats/gguf_tokenizer.h"
#include "formats/json_text.h"
#include "fuzz_message.h"
#include "memory_file.h"
#include "models/architecture.h"
#include "models/gguf_model.h"
#include "text/tokenizer.h"

namespace {

using aquatint::testing::GgufWriter;

template <typename T>
std::vector<T> items(const std::string& text) {
  std::istringstream words(text);
  std::vector<T> out;
  for (T item; words >> item;) out.push_back(item);
  return out;
}

void add_line(GgufWriter& writer, const std::string& line) {
  const std::size_t equals = line.find('=');
  if (equals == std::string::npos) return;
  std::string key = line.substr(0, equals);
  const std::string value = line.substr(equals + 1);
  if (key.starts_with("tensor ")) {
    std::vector<std::int64_t> shape = items<std::int64_t>(value);
    std::int64_t numel = 1;
    for (const std::int64_t size : shape) {
      numel = size < 0 || size > 4096 ? 0 : std::min<std::int64_t>(numel * size, 1 << 16);
    }
    writer.tensor(key.substr(7), shape, 0, std::string(static_cast<std::size_t>(4 * numel), '\0'));
    return;
  }
  const std::size_t colon = key.rfind(':');
  const std::string type = colon == std::string::npos ? "" : key.substr(colon + 1);
  if (colon != std::string::npos) key.resize(colon);
  if (type == "i") {
    writer.set(key, static_cast<std::uint32_t>(std::strtoll(value.c_str(), nullptr, 10)));
  } else if (type == "f") {
    writer.set(key, std::strtof(value.c_str(), nullptr));
  } else if (type == "b") {
    writer.set(key, value == "1");
  } else if (type == "s") {
    writer.set(key, items<std::string>(value));
  } else if (type == "n") {
    const bool scores = key.ends_with("scores");
    if (scores) writer.set(key, items<float>(value));
    if (!scores) writer.set(key, items<std::int32_t>(value));
  } else {
    writer.set(key, value);
  }
}

template <typename Body>
void expect_error_or_value(const Body& body) {
  try {
    body();
  } catch (const aquatint::Error& error) {
    aquatint::check_message(error);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  GgufWriter writer;
  std::istringstream lines(std::string(reinterpret_cast<const char*>(data), size));
  for (std::string line; std::getline(lines, line);) add_line(writer, line);
  const std::string bytes = writer.bytes();
  const aquatint::MemoryFile named(std::as_bytes(std::span(bytes.data(), bytes.size())));
  expect_error_or_value([&] {
    const auto file =
        std::make_shared<const aquatint::GgufFile>(aquatint::GgufFile::open(named.path()));
    expect_error_or_value([&] {
      const auto tokenizer = aquatint::gguf_tokenizer(file->metadata());
      aquatint::Tokenizer::parse(tokenizer.tokenizer_json, tokenizer.tokenizer_config_json, "fuzz")
          .encode("ab c\xC3\xA9 1", true);
    });
    expect_error_or_value([&] {
      const auto config =
          aquatint::Config::parse(aquatint::json_text(aquatint::gguf_config(*file)), "fuzz.gguf");
      const auto architecture = aquatint::make_architecture(config);
      const aquatint::GgufTensors tensors(file);
      for (const auto& [name, entry] : tensors.entries()) {
        expect_error_or_value([&, &tensor = name] { tensors.tensor(tensor).clone(); });
      }
    });
  });
  return 0;
}
