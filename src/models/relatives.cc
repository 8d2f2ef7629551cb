#include "models/relatives.h"

#include "base/error.h"

namespace aquatint {
namespace {

struct Relative {
  const char* model_type;
  const char* reason;
};

constexpr const char* kExperts = "a mixture of experts";
constexpr const char* kLatent = "multi-head latent attention";

constexpr Relative kRelatives[] = {
    {"minicpm3", kLatent},
    {"minicpm4", "sparse attention and longrope"},
    {"mixtral", kExperts},
    {"qwen2_moe", kExperts},
    {"qwen3", "normalized queries and keys"},
    {"qwen3_moe", "normalized queries and keys, and a mixture of experts"},
    {"qwen3_next", "gated delta rule layers and a mixture of experts"},
    {"llama4", "attention in chunks and a mixture of experts"},
    {"llama4_text", "attention in chunks and a mixture of experts"},
    {"mllama", "cross attention to images"},
    {"mistral3", "a part for images"},
    {"ministral", "windows that differ between layers"},
    {"qwen2_vl", "a part for images"},
    {"qwen2_5_vl", "a part for images"},
    {"deepseek_v2", "multi-head latent attention and a mixture of experts"},
    {"deepseek_v3", "multi-head latent attention and a mixture of experts"},
    {"gemma", "norms with weights about one more than stored, and scaled embeddings"},
    {"gemma2", "capped scores, and norms after each part"},
    {"gemma3_text", "windows that differ between layers, and norms after each part"},
    {"phi3", "fused projections and longrope"},
    {"granite", "four scales of its own"},
    {"olmo2", "norms after each part"},
    {"smollm3", "layers without rotary positions"},
    {"gpt_neo", "local attention, and projections of its own form"},
    {"gpt_neox", "attention and feed-forward part side by side"},
    {"gptj", "attention and feed-forward part side by side"},
    {"gpt_bigcode", "one key-value head, in a fused projection"},
    {"mamba3", "another recurrence than Mamba and Mamba-2"},
    {"falcon_mamba", "norms of the step sizes, B and C within the mixer"},
    {"jamba", "a mixture of experts between Mamba and attention"},
    {"bamba", "attention blocks between those of Mamba-2"},
    {"zamba", "shared attention blocks"},
    {"zamba2", "shared attention blocks"},
    {"falcon_h1", "attention beside the mixer of each block"},
    {"nemotron_h", "attention and feed-forward blocks between those of Mamba-2"},
    {"granitemoehybrid", "attention blocks and a mixture of experts"},
};

}  // namespace

void refuse_relatives(const Config& config) {
  const std::string type = config.get_string("model_type", "");
  for (const Relative& relative : kRelatives) {
    if (type != relative.model_type) continue;
    raise(ErrorKind::kUnsupported, "'{}': model_type '{}' is not supported: it has {}",
          config.origin(), type, relative.reason);
  }
}

}  // namespace aquatint
