// Which files of a repository to take: shell patterns as Python's fnmatch and huggingface_hub
// understand them, and the files that a model needs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace aquatint::hub {

// Whether the whole name matches, as fnmatch.fnmatchcase: '*' is any text, '/' included; '?' any
// one character; '[a-c]' one of these and '[!a-c]' one but these. As in huggingface_hub a pattern
// that ends with '/' means everything below.
bool glob_matches(std::string_view pattern, std::string_view name);
bool any_matches(const std::vector<std::string>& patterns, std::string_view name);

// Names among `all` that match one of `include` (empty: the files that a model needs, below) and
// none of `exclude`, in the order of `all`.
//
// A model needs its configuration, tokenizer and generation files, and weights: model.safetensors,
// else model.safetensors.index.json with the shards named there, else the same of
// pytorch_model.bin. Shards are not in the result: only the index knows them (shards_of).
std::vector<std::string> select_files(const std::vector<std::string>& all,
                                      const std::vector<std::string>& include,
                                      const std::vector<std::string>& exclude);
// The index among names of select_files without `include`; empty when weights are one file.
std::string index_among(const std::vector<std::string>& files);
// Whether the name is that of weights in one file or of an index.
bool holds_weights(std::string_view name);
// Files that the index, a JSON text, distributes tensors over, each once. Error kCorrupt naming
// `origin`.
std::vector<std::string> shards_of(std::string_view index, const std::string& origin);

}  // namespace aquatint::hub
