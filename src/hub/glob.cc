#include "hub/glob.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "formats/config.h"
#include "hub/repo_name.h"

namespace aquatint::hub {
namespace {

constexpr std::array kSmallFiles = {
    "config.json",     "generation_config.json",  "tokenizer.json",    "tokenizer_config.json",
    "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt",      "chat_template.jinja",     "LICENSE",           "LICENSE.txt",
    "LICENSE.md",
};
// Forms of weights, the first that a repository has is taken; indexes end with ".index.json".
constexpr std::array kWeights = {
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
};

// Characters rather than bytes, so that '?' is one whatever the alphabet; bytes that are not UTF-8
// stand for themselves.
std::u32string characters(std::string_view text) {
  std::u32string result;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    std::size_t size = byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    if (i + size > text.size()) size = 1;
    char32_t value = size == 1 ? byte : byte & (0x7fu >> size);
    for (std::size_t k = 1; k < size; ++k) {
      value = value << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3fu);
    }
    result += value;
    i += size;
  }
  return result;
}

// Matches one character against the set that begins after '[' at `at`; sets `at` to what follows
// ']'. Without a ']' the '[' is an ordinary character and `at` stays.
bool set_matches(const std::u32string& pattern, std::size_t& at, char32_t c) {
  std::size_t begin = at;
  const bool inverse = begin < pattern.size() && pattern[begin] == U'!';
  if (inverse) ++begin;
  // A ']' that stands first belongs to the set.
  const std::size_t end = pattern.find(U']', begin + 1);
  if (end == std::u32string::npos) return c == U'[';
  at = end + 1;
  bool found = false;
  for (std::size_t i = begin; i < end; ++i) {
    if (i + 2 < end && pattern[i + 1] == U'-') {
      found = found || (pattern[i] <= c && c <= pattern[i + 2]);
      i += 2;
    } else {
      found = found || pattern[i] == c;
    }
  }
  return found != inverse;
}

bool matches(const std::u32string& pattern, const std::u32string& name) {
  // Where the last '*' stands and what it has swallowed so far: enough to go back to.
  std::size_t p = 0, n = 0, star = std::u32string::npos, swallowed = 0;
  while (n < name.size()) {
    bool fits = false;
    std::size_t next = p + 1;
    if (p < pattern.size() && pattern[p] == U'*') {
      star = p++;
      swallowed = n;
      continue;
    }
    if (p < pattern.size()) {
      fits = pattern[p] == U'?' ||
             (pattern[p] == U'[' ? set_matches(pattern, next, name[n]) : pattern[p] == name[n]);
    }
    if (fits) {
      p = next;
      ++n;
    } else if (star != std::u32string::npos) {
      p = star + 1;
      n = ++swallowed;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == U'*') ++p;
  return p == pattern.size();
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view name) {
  std::u32string wide = characters(pattern);
  if (!wide.empty() && wide.back() == U'/') wide += U'*';
  return matches(wide, characters(name));
}

bool any_matches(const std::vector<std::string>& patterns, std::string_view name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return glob_matches(pattern, name); });
}

std::vector<std::string> select_files(const std::vector<std::string>& all,
                                      const std::vector<std::string>& include,
                                      const std::vector<std::string>& exclude) {
  const auto weights = std::find_if(kWeights.begin(), kWeights.end(),
                                    [&](const char* name) { return contains(all, name); });
  std::vector<std::string> selected;
  for (const std::string& name : all) {
    const bool needed =
        std::find(kSmallFiles.begin(), kSmallFiles.end(), name) != kSmallFiles.end() ||
        (weights != kWeights.end() && name == *weights);
    const bool wanted = include.empty() ? needed : any_matches(include, name);
    if (wanted && !any_matches(exclude, name)) selected.push_back(name);
  }
  return selected;
}

std::string index_among(const std::vector<std::string>& files) {
  for (const std::string& name : files) {
    if (holds_weights(name) && name.ends_with(".index.json")) return name;
  }
  return "";
}

bool holds_weights(std::string_view name) {
  return std::find(kWeights.begin(), kWeights.end(), name) != kWeights.end();
}

std::vector<std::string> shards_of(std::string_view index, const std::string& origin) {
  const Config map = Config::parse(index, origin).child("weight_map");
  std::set<std::string> shards;
  for (const auto& [tensor, file] : map.json().items()) {
    if (!file.is_string() || !is_safe_path(file.get_ref<const std::string&>())) {
      raise(ErrorKind::kCorrupt, "'{}': weight_map gives tensor '{}' no usable file name", origin,
            tensor);
    }
    shards.insert(file.get<std::string>());
  }
  return {shards.begin(), shards.end()};
}

}  // namespace aquatint::hub
