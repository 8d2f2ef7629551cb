#include "formats/wikitext.h"

#include "base/mapped_file.h"
#include "formats/python_space.h"

namespace aquatint {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t copied = 0;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, copied)) {
    out.append(text, copied, at - copied);
    out += to;
    copied = at + from.size();
  }
  if (copied == 0) return;
  out.append(text, copied);
  text = std::move(out);
}

// The harness' rule for "/' 5/" has its pattern in place of the replacement, too; kept, as
// published numbers were made with it.
void replace_slashed_digits(std::string& text) {
  std::size_t at = 0;
  while ((at = text.find("/' ", at)) != std::string::npos) {
    const bool matches =
        at + 4 < text.size() && text[at + 3] >= '0' && text[at + 3] <= '9' && text[at + 4] == '/';
    if (matches) text.replace(at, 5, "/'[0-9]/");
    at += matches ? 8 : 1;
  }
}

// Strips white space inside every pair of `open` and the next `close`.
void close_up(std::string& text, char open, char close) {
  std::string out;
  std::size_t copied = 0;
  while (true) {
    const std::size_t begin = text.find(open, copied);
    if (begin == std::string::npos) break;
    const std::size_t end = text.find(close, begin + 1);
    if (end == std::string::npos) break;
    out.append(text, copied, begin + 1 - copied);
    out += python_strip(std::string_view(text).substr(begin + 1, end - begin - 1));
    out += close;
    copied = end + 1;
  }
  out.append(text, copied);
  text = std::move(out);
}

}  // namespace

std::string detokenize_wikitext(std::string page) {
  replace_all(page, "s '", "s'");
  replace_slashed_digits(page);
  replace_all(page, " @-@ ", "-");
  replace_all(page, " @,@ ", ",");
  replace_all(page, " @.@ ", ".");
  replace_all(page, " : ", ": ");
  replace_all(page, " ; ", "; ");
  replace_all(page, " . ", ". ");
  replace_all(page, " ! ", "! ");
  replace_all(page, " ? ", "? ");
  replace_all(page, " , ", ", ");
  close_up(page, '(', ')');
  close_up(page, '[', ']');
  close_up(page, '{', '}');
  close_up(page, '"', '"');
  close_up(page, '\'', '\'');
  replace_all(page, "= = = =", "====");
  replace_all(page, "= = =", "===");
  replace_all(page, "= =", "==");
  replace_all(page, " \xC2\xB0 ", "\xC2\xB0");  // degrees
  replace_all(page, " \n", "\n");
  replace_all(page, "\n ", "\n");
  replace_all(page, " N ", " 1 ");
  replace_all(page, " 's", "'s");
  return page;
}

std::string join_wikitext_rows(std::string_view raw) {
  std::string joined;
  bool first = true;
  while (!raw.empty()) {
    const std::size_t newline = raw.find('\n');
    const std::size_t size = newline == std::string_view::npos ? raw.size() : newline + 1;
    const std::string_view row = raw.substr(0, size);
    raw.remove_prefix(size);
    if (!first) joined += "\n\n";
    first = false;
    if (!python_strip(row).empty()) joined += row;
  }
  return joined;
}

TextData load_wikitext_pages(const std::filesystem::path& jsonl) {
  TextData data{jsonl.filename().string(), {}};
  for (std::string& page : read_jsonl_strings(jsonl, "page")) {
    TextDocument document = make_document(std::move(page));
    document.text = detokenize_wikitext(std::move(document.text));
    data.documents.push_back(std::move(document));
  }
  return data;
}

TextData load_wikitext_joined(const std::filesystem::path& raw) {
  TextData data = load_wikitext_raw(raw);
  TextDocument& document = data.documents.front();
  document.text = join_wikitext_rows(document.text);
  return data;
}

TextData load_wikitext_raw(const std::filesystem::path& raw) {
  TextData data{raw.filename().string(), {}};
  data.documents.push_back(make_document(read_text_file(raw)));
  return data;
}

}  // namespace aquatint
