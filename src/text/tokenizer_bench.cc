// Speed of tokenization in megabytes of text per second, one thread. By default over the tokenizers
// and texts of ../shared, seen from the working directory; AQUATINT_BENCH_TOKENIZER and
// AQUATINT_BENCH_TEXT name one file each instead (bench/tokenizer_speed.py runs another
// implementation on the same input).
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "text/tokenizer.h"

namespace {

using aquatint::Tokenizer;

constexpr std::size_t kDocumentBytes = 4096;

// Documents of about kDocumentBytes, cut after a line end; the separator stays with the one before.
std::vector<std::string> cut_documents(const std::string& text) {
  std::vector<std::string> documents;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t line = text.find('\n', begin + kDocumentBytes);
    const std::size_t end = line == std::string::npos ? text.size() : line + 1;
    documents.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return documents;
}

void report(benchmark::State& state, std::size_t bytes, std::size_t tokens) {
  using benchmark::Counter;
  const auto per_iteration = [](std::size_t n) {
    return Counter(static_cast<double>(n), Counter::kIsIterationInvariantRate);
  };
  state.counters["MB/s"] =
      Counter(static_cast<double>(bytes) / 1e6, Counter::kIsIterationInvariantRate);
  state.counters["tokens/s"] = per_iteration(tokens);
}

void encode(benchmark::State& state, const Tokenizer& tokenizer,
            const std::vector<std::string>& documents, bool with_offsets) {
  std::size_t bytes = 0;
  for (const std::string& document : documents) bytes += document.size();
  std::size_t tokens = 0;
  for (auto _ : state) {
    tokens = 0;
    for (const std::string& document : documents) {
      tokens += with_offsets ? tokenizer.encode_with_offsets(document, false).ids.size()
                             : tokenizer.encode(document, false).size();
    }
  }
  report(state, bytes, tokens);
}

void decode(benchmark::State& state, const Tokenizer& tokenizer,
            const std::vector<std::string>& documents) {
  std::vector<std::vector<aquatint::TokenId>> ids;
  std::size_t tokens = 0;
  for (const std::string& document : documents) {
    ids.push_back(tokenizer.encode(document, false));
    tokens += ids.back().size();
  }
  std::size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    for (const auto& sequence : ids) bytes += tokenizer.decode(sequence, false).size();
  }
  report(state, bytes, tokens);
}

void register_all(const std::string& name, const std::filesystem::path& tokenizer_file,
                  const std::string& text) {
  const auto tokenizer = std::make_shared<const Tokenizer>(
      Tokenizer::parse(aquatint::read_text_file(tokenizer_file), tokenizer_file.string()));
  const auto documents = std::make_shared<const std::vector<std::string>>(cut_documents(text));
  const auto add = [&](const char* what, auto body) {
    benchmark::RegisterBenchmark((name + "/" + what).c_str(), body)->Unit(benchmark::kMillisecond);
  };
  add("documents", [=](benchmark::State& s) { encode(s, *tokenizer, *documents, false); });
  add("documents_offsets", [=](benchmark::State& s) { encode(s, *tokenizer, *documents, true); });
  add("whole", [=](benchmark::State& s) { encode(s, *tokenizer, {text}, false); });
  add("decode", [=](benchmark::State& s) { decode(s, *tokenizer, *documents); });
}

void register_default() {
  const std::filesystem::path shared = "../shared";
  std::string text;
  for (const char* file : {"books_calib.txt", "wikitext2_raw_test.txt", "books_valid.txt"}) {
    if (!std::filesystem::exists(shared / "data" / file)) return;
    text += aquatint::read_text_file(shared / "data" / file);
  }
  register_all("gpt2", shared / "models/gpt2/tokenizer.json", text);
  register_all("gpt-neox-20b", shared / "data/tokenizers/gpt-neox-20b/tokenizer.json", text);
  register_all("llama", shared / "models/llama/tokenizer.json", text);
}

const bool kRegistered = [] {
  const char* tokenizer = std::getenv("AQUATINT_BENCH_TOKENIZER");
  const char* text = std::getenv("AQUATINT_BENCH_TEXT");
  if (tokenizer != nullptr && text != nullptr) {
    register_all("tokenizer", tokenizer, aquatint::read_text_file(text));
  } else {
    register_default();
  }
  return true;
}();

}  // namespace
