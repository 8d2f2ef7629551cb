// Small but complete tokenizers that the tests of this folder change as they need.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace aquatint::text {

inline Tokenizer parse_tokenizer(const nlohmann::json& spec) {
  return Tokenizer::parse(spec.dump(), "test.json");
}

// a-b, ab-c, b-c and the mark of a blank with ab, in this order.
inline nlohmann::json merges(const char* mark) {
  using nlohmann::json;
  return json::array({json::array({"a", "b"}), json::array({"ab", "c"}), json::array({"b", "c"}),
                      json::array({mark, "ab"})});
}

// GPT-2's components over all bytes and the tokens ab, bc, abc and Ġab.
inline nlohmann::json byte_level_tokenizer() {
  using nlohmann::json;
  json vocab;
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string symbol;
    append_utf8(byte_to_symbol(static_cast<std::uint8_t>(byte)), symbol);
    vocab[symbol] = byte;
  }
  for (const char* token : {"ab", "bc", "abc", "Ġab"}) vocab[token] = vocab.size();
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  return {{"version", "1.0"},
          {"added_tokens", json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", byte_level},
          {"decoder", byte_level},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges("Ġ")}}}};
}

// Llama-2's components over a, b, c, the mark and the bytes.
inline nlohmann::json sentencepiece_tokenizer() {
  using nlohmann::json;
  json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = 3 + byte;
  for (const char* token : {"▁", "a", "b", "c", "ab", "bc", "abc", "▁ab"}) {
    vocab[token] = vocab.size();
  }
  json added = json::array();
  for (const char* token : {"<unk>", "<s>", "</s>"}) {
    added.push_back({{"id", vocab[token]}, {"content", token}, {"special", true}});
  }
  const json mark = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}};
  const json unmark = {{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}};
  const json prepend = {{"type", "Prepend"}, {"prepend", "▁"}};
  const json strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const json bos = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  return {{"version", "1.0"},
          {"added_tokens", added},
          {"normalizer", {{"type", "Sequence"}, {"normalizers", {prepend, mark}}}},
          {"pre_tokenizer", nullptr},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", {bos, text}},
            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders", {unmark, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}, strip}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", merges("▁")}}}};
}

}  // namespace aquatint::text
