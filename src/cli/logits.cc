#include <fnmatch.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <map>
#include <memory>

#include "cli/common.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "formats/safetensors.h"
#include "runtime/model_text.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string model, text, out;
  std::vector<std::int32_t> tokens;
  std::vector<std::string> taps;
  ModelOptions loading;
};

// Rows of every tap whose name matches one of the patterns, steps appended.
class PatternTaps : public TapSink {
 public:
  explicit PatternTaps(std::vector<std::string> patterns) : patterns_(std::move(patterns)) {}
  bool wants(const std::string& name) override {
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      if (::fnmatch(patterns_[i].c_str(), name.c_str(), 0) == 0) return true;
    }
    return false;
  }
  void record(const std::string& name, const float* values, std::int64_t rows,
              std::int64_t columns) override {
    auto& [width, all] = values_[name];
    width = columns;
    all.insert(all.end(), values, values + rows * columns);
  }
  std::vector<std::pair<std::string, Tensor>> tensors() const {
    std::vector<std::pair<std::string, Tensor>> result;
    for (const auto& [name, value] : values_) {
      const auto& [width, all] = value;
      const Tensor t =
          Tensor::empty({static_cast<std::int64_t>(all.size()) / width, width}, DType::kF32);
      std::memcpy(t.mutable_bytes(), all.data(), t.nbytes());
      result.emplace_back(name, t);
    }
    return result;
  }

 private:
  std::vector<std::string> patterns_;
  std::map<std::string, std::pair<std::int64_t, std::vector<float>>> values_;
};

void run(const Options& options) {
  check_output(options.out);
  std::vector<std::int32_t> tokens = options.tokens;
  if (tokens.empty()) {
    check_utf8(options.text, "--text", ErrorKind::kInvalidArgument);
    tokens = open_tokenizer(model_folder(options.model)).encode(options.text, true);
  }
  if (tokens.empty()) raise(ErrorKind::kInvalidArgument, "the text has no tokens");
  const auto n = static_cast<std::int64_t>(tokens.size());
  Model model = load_model(options.model, options.loading.load_options());
  PatternTaps taps(options.taps);
  if (!options.taps.empty()) model.set_taps(&taps);

  SequenceState state = model.new_state();
  const Tensor logits = Tensor::empty({n, model.vocab_size()}, DType::kF32);
  const ModelInput input{tokens, &state};
  model.run(std::span(&input, 1), LogitsFor::kEveryToken,
            [&](std::size_t, std::int64_t first, std::int64_t count, const float* rows) {
              std::memcpy(logits.mutable_data<float>() + first * model.vocab_size(), rows,
                          static_cast<std::size_t>(count * model.vocab_size()) * sizeof(float));
            });
  auto tensors = taps.tensors();
  if (!options.taps.empty() && tensors.empty()) {
    raise(ErrorKind::kInvalidArgument,
          "no tap matches; taps are like hidden.0, model.layers.0.attn.q_proj.input, "
          "model.layers.0.attn.o");
  }
  const Tensor ids = Tensor::empty({n}, DType::kI32);
  std::memcpy(ids.mutable_bytes(), tokens.data(), ids.nbytes());
  tensors.emplace_back("logits", logits);
  tensors.emplace_back("input_ids", ids);
  write_safetensors(options.out, tensors);
  print(fmt::format("wrote {}: logits {} and {} tap{}\n", options.out, logits.shape().str(),
                    tensors.size() - 2, tensors.size() == 3 ? "" : "s"));
}

}  // namespace

void add_logits(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = program.add_subcommand(
      "logits", "Write the float32 logits of every token, and inner values, to a safetensors file");
  add_model(*verb, options->model);
  auto* tokens = add_tokens(*verb, "--tokens", options->tokens, "Token ids to run, e.g. 1,2,3");
  auto* text = add_text(*verb, "--text", options->text, "TEXT",
                        "Text to run instead, tokenized with its special tokens");
  add_repeated(*verb, "--taps", options->taps, "PATTERN",
               "Inner values to write too, by name; * and ? match any characters");
  add_text(*verb, "--out", options->out, "FILE", "Safetensors file to write")->required();
  options->loading.declare(*verb);
  add_threads(*verb);
  verb->footer(
      "Example:\n"
      "  aquatint logits models/gla --tokens 1,2,3 --taps 'hidden.*' --out l.safetensors");
  verb->callback([options, tokens, text] {
    if ((tokens->count() > 0) == (text->count() > 0)) {
      raise(ErrorKind::kInvalidArgument, "logits needs either --tokens IDS or --text TEXT");
    }
    run(*options);
  });
}

}  // namespace aquatint::cli
