// WikiText as the published perplexities read it: lm-evaluation-harness undoes the corpus' spacing
// of its pages, the GPTQ code joins the rows of the Hugging Face data set.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "formats/text_data.h"

namespace aquatint {

// A page as lm-evaluation-harness scores it: contractions, number separators, punctuation,
// brackets, quotes and headings are closed up. Word and byte counts stay those of the page as it
// was.
std::string detokenize_wikitext(std::string page);

// "\n\n".join of the rows of wikitext-2-raw: a row is a line with its "\n", or empty where a line
// is blank. `raw` is the corpus file (wiki.test.raw).
std::string join_wikitext_rows(std::string_view raw);

// The texts that tasks score: pages of a wikitext.jsonl, detokenized; the corpus file with rows
// joined; the corpus file as it is. Errors of read_text_data.
TextData load_wikitext_pages(const std::filesystem::path& jsonl);
TextData load_wikitext_joined(const std::filesystem::path& raw);
TextData load_wikitext_raw(const std::filesystem::path& raw);

}  // namespace aquatint
