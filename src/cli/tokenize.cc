#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "report/table.h"
#include "text/tokenizer.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string model, text, file, json;
  std::vector<TokenId> decode;
  bool no_special = false, ids_only = false;
};

void run(const Options& options) {
  const Tokenizer tokenizer = Tokenizer::open(options.model);
  if (!options.decode.empty()) {
    print(tokenizer.decode(options.decode, options.no_special) + "\n");
    return;
  }
  const std::string text = options.file.empty() ? options.text : read_text_file(options.file);
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
               tokenizer.id_to_token(encoding.ids[i]).value_or(""),
               fmt::format("{}-{}", encoding.offsets[i].first, encoding.offsets[i].second)});
  }
  print(table.str() + fmt::format("{} tokens\n", encoding.ids.size()));
}

}  // namespace

void add_tokenize(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      program.add_subcommand("tokenize", "Show the tokens of a text, or the text of tokens");
  verb->add_option("model", options->model, "Model folder")->required();
  auto* source = verb->add_option_group("source", "What to convert");
  source->add_option("--text", options->text, "A text");
  source->add_option("--file", options->file, "A text file");
  source->add_option("--decode", options->decode, "Token ids, e.g. 1,2,3")->delimiter(',');
  source->require_option(1);
  verb->add_flag("--no-special", options->no_special,
                 "Without the special tokens the tokenizer adds; with --decode, leave them out");
  verb->add_flag("--ids", options->ids_only, "Print ids only");
  verb->add_option("--json", options->json, "Write ids, tokens and byte offsets as JSON");
  verb->footer("Example:\n  aquatint tokenize models/gla --text 'Hello, world' --ids");
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
