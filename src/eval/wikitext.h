// WikiText as the published perplexities read it: lm-evaluation-harness undoes the corpus' spacing
// of its pages, the GPTQ code joins the rows of the Hugging Face data set.
#pragma once

#include <string>
#include <string_view>

namespace aquatint {

// A page as lm-evaluation-harness scores it: contractions, number separators, punctuation,
// brackets, quotes and headings are closed up. Word and byte counts stay those of the page as it
// was.
std::string detokenize_wikitext(std::string page);

// "\n\n".join of the rows of wikitext-2-raw: a row is a line with its "\n", or empty where a line
// is blank. `raw` is the corpus file (wiki.test.raw).
std::string join_wikitext_rows(std::string_view raw);

}  // namespace aquatint
