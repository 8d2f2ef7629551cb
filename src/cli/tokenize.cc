#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "base/printable.h"
#include "cli/common.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "report/table.h"
#include "runtime/model_text.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string model, text, file, json;
  std::vector<TokenId> decode;
  bool no_special = false, ids_only = false;
};

void decode(const Tokenizer& tokenizer, const Options& options) {
  for (const TokenId id : options.decode) {
    if (tokenizer.id_to_token(id)) continue;
    raise(ErrorKind::kInvalidArgument, "token {} is not in the vocabulary of {}", id,
          tokenizer.vocab_size());
  }
  const std::string text = tokenizer.decode(options.decode, options.no_special);
  if (!options.json.empty()) {
    write_json(options.json, {{"ids", options.decode}, {"text", text}});
    if (options.json == "-") return;
  }
  print(text + "\n");
}

void run(const Options& options) {
  check_output(options.json);
  const Tokenizer tokenizer = open_tokenizer(model_folder(options.model));
  if (!options.decode.empty()) {
    decode(tokenizer, options);
    return;
  }
  const bool from_file = !options.file.empty();
  const std::string text = from_file ? read_text_file(options.file) : options.text;
  check_utf8(text, from_file ? "'" + options.file + "'" : "--text",
             from_file ? ErrorKind::kCorrupt : ErrorKind::kInvalidArgument);
  const Encoding encoding = tokenizer.encode_with_offsets(text, !options.no_special);
  if (!options.json.empty()) {
    nlohmann::json out = {{"ids", encoding.ids}, {"offsets", encoding.offsets}};
    for (const TokenId id : encoding.ids) {
      out["tokens"].push_back(tokenizer.id_to_token(id).value_or(""));
    }
    write_json(options.json, out);
    if (options.json == "-") return;
  }
  if (options.ids_only) {
    std::string line;
    for (const TokenId id : encoding.ids) line += fmt::format("{}{}", line.empty() ? "" : " ", id);
    print(line + "\n");
    return;
  }
  Table table({"id", "token", "bytes"});
  for (std::size_t i = 0; i < encoding.ids.size(); ++i) {
    table.add({std::to_string(encoding.ids[i]),
               printable(tokenizer.id_to_token(encoding.ids[i]).value_or("")),
               fmt::format("{}-{}", encoding.offsets[i].first, encoding.offsets[i].second)});
  }
  print(table.str() + fmt::format("{} tokens\n", encoding.ids.size()));
}

}  // namespace

void add_tokenize(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      program.add_subcommand("tokenize", "Show the tokens of a text, or the text of tokens");
  add_model(*verb, options->model);
  auto* text = add_text(*verb, "--text", options->text, "TEXT", "Text to turn into tokens");
  auto* file = add_text(*verb, "--file", options->file, "FILE", "The same with the text of a file");
  auto* decode =
      add_tokens(*verb, "--decode", options->decode, "Token ids to turn into text, e.g. 1,2,3");
  verb->add_flag("--no-special", options->no_special,
                 "Leave out the special tokens that the tokenizer adds, or that --decode is given");
  verb->add_flag("--ids", options->ids_only, "Print the ids only, on one line");
  add_json(*verb, options->json);
  verb->footer(
      "Examples:\n"
      "  aquatint tokenize models/gla --text 'Hello, world' --ids\n"
      "  aquatint tokenize models/gla --decode 1,586,408,1106");
  verb->callback([options, text, file, decode] {
    const auto given = [](const CLI::Option* option) { return option->count() > 0 ? 1 : 0; };
    if (given(text) + given(file) + given(decode) != 1) {
      raise(ErrorKind::kInvalidArgument,
            "tokenize needs one of --text TEXT, --file FILE and --decode IDS");
    }
    run(*options);
  });
}

}  // namespace aquatint::cli
