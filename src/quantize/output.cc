#include "quantize/output.h"

#include <nlohmann/json.hpp>

#include "formats/atomic_file.h"
#include "formats/json_text.h"

namespace aquatint {

using nlohmann::json;

std::string quantized_config(const Checkpoint& checkpoint, const Recipe& recipe, const Plan& plan,
                             const std::string& fingerprint) {
  std::vector<std::tuple<std::string, ModuleClass, ModuleScheme>> modules;
  std::vector<std::string> ignored;
  for (const TensorPlan& t : plan.tensors) {
    const bool embedding = t.spec->role == Role::kEmbedding;
    if (t.scheme) {
      modules.emplace_back(t.spec->module(),
                           embedding ? ModuleClass::kEmbedding : ModuleClass::kLinear, *t.scheme);
    } else if (is_linear(t.spec->role)) {
      ignored.push_back(t.spec->module());
    }
  }
  // A head that stays tied is no tensor of the plan, but loaders see a linear module.
  if (checkpoint.head_is_tied() && !plan.unties_head) ignored.emplace_back("lm_head");

  json config = checkpoint.config().json();
  config["quantization_config"] = make_quantization_config(modules, ignored);
  config["tie_word_embeddings"] = checkpoint.head_is_tied() && !plan.unties_head;
  config["aquatint"] = {{"recipe", recipe.name}, {"fingerprint", fingerprint}};
  if (!plan.calibration.empty()) config["aquatint"]["calibration"] = plan.calibration;
  return json_text(config, checkpoint.config().bare_nonfinite());
}

void copy_model_files(const Checkpoint& checkpoint, const std::filesystem::path& to) {
  const std::filesystem::path& from = checkpoint.folder();
  constexpr const char* kFiles[] = {"tokenizer.json",      "tokenizer_config.json",
                                    "tokenizer.model",     "special_tokens_map.json",
                                    "added_tokens.json",   "vocab.json",
                                    "merges.txt",          "generation_config.json",
                                    "chat_template.jinja", "LICENSE"};
  for (const char* name : kFiles) {
    std::error_code error;
    if (!std::filesystem::exists(from / name, error)) continue;
    std::filesystem::copy_file(from / name, to / name,
                               std::filesystem::copy_options::overwrite_existing, error);
    if (error) raise(ErrorKind::kIo, "'{}': {}", (to / name).string(), error.message());
    // Sources may be read-only; what we write belongs to the user.
    std::filesystem::permissions(to / name, std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add, error);
    sync_path(to / name);
  }
  std::error_code error;
  if (std::filesystem::exists(to / "tokenizer.json", error)) return;
  if (const auto own = checkpoint.own_tokenizer()) {
    write_text_file(to / "tokenizer.json", own->tokenizer_json);
    write_text_file(to / "tokenizer_config.json", own->tokenizer_config_json);
  }
}

}  // namespace aquatint
