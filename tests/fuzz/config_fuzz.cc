// Any text is a configuration or an Error; whatever is asked of it gives a value or an Error; what
// is written of it reads back the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "formats/config.h"
#include "formats/json_text.h"
#include "fuzz_message.h"

namespace {

template <typename Body>
void attempt(const Body& body) {
  try {
    body();
  } catch (const aquatint::Error& error) {
    aquatint::check_message(error);
  }
}

void ask_everything(const aquatint::Config& config, int depth) {
  for (const std::string& key : config.keys()) {
    attempt([&] { config.get_int(key); });
    attempt([&] { config.get_double(key); });
    attempt([&] { config.get_bool(key); });
    attempt([&] { config.get_string(key); });
    attempt([&] { config.get_ints(key); });
    attempt([&] { config.get_doubles(key); });
    attempt([&] { config.get_strings(key); });
    attempt([&] { config.raise_unsupported(key, "fuzz"); });
    if (depth >= 3) continue;
    attempt([&] { ask_everything(config.child(key), depth + 1); });
    attempt([&] {
      for (const aquatint::Config& child : config.children(key)) ask_everything(child, depth + 1);
    });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  attempt([&] {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto config = aquatint::Config::parse(text, "fuzz.json");
    ask_everything(config, 0);
    for (const bool bare : {false, true}) {
      const std::string written = aquatint::json_text(config.json(), bare);
      if (aquatint::parse_json(written, "again.json") != config.json()) std::abort();
    }
  });
  return 0;
}
