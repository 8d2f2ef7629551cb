// config.json from the metadata of a GGUF file. The keys of each architecture are those that
// llama.cpp's converters write (docs/formats/gguf.md).
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "models/gguf_model.h"
#include "models/rope_scaling.h"

namespace aquatint {
namespace {

using nlohmann::json;

class ConfigBuilder {
 public:
  explicit ConfigBuilder(const GgufFile& file)
      : file_(file), m_(file.metadata()), architecture_(m_.get_string("general.architecture")) {}

  json build() {
    refuse_experts();
    config_["vocab_size"] = rows_of("token_embd.weight");
    config_["tie_word_embeddings"] = !file_.contains("output.weight");
    config_["torch_dtype"] = "float32";
    add_special_tokens();
    if (architecture_ == "gpt2") {
      add_gpt2();
    } else if (architecture_ == "mamba" || architecture_ == "mamba2") {
      add_state_space();
    } else {
      add_llama();
    }
    return std::move(config_);
  }

 private:
  std::string key(const char* name) const { return architecture_ + "." + name; }
  std::int64_t integer(const char* name) const { return m_.get_int(key(name)); }

  // A float32 of the file as the shortest decimal number that means it: 1e-05, not 9.99…e-06.
  static double shortest(double value) {
    const auto narrow = static_cast<float>(value);
    if (static_cast<double>(narrow) != value) return value;
    return std::strtod(fmt::format("{}", narrow).c_str(), nullptr);
  }
  double number(const char* name) const { return shortest(m_.get_number(key(name))); }
  std::optional<double> find_number(const char* name) const {
    const auto value = m_.find_number(key(name));
    return value ? std::optional(shortest(*value)) : std::nullopt;
  }

  [[noreturn]] void unsupported(const char* name, const std::string& value,
                                const char* reason) const {
    raise(ErrorKind::kUnsupported, "'{}': {} is {}: {}", m_.origin(), key(name), printable(value),
          reason);
  }

  std::int64_t rows_of(const char* tensor) const {
    const auto found = file_.entries().find(tensor);
    if (found == file_.entries().end() || found->second.shape.size() != 2) {
      raise(ErrorKind::kCorrupt, "'{}': it has no matrix '{}'", m_.origin(), tensor);
    }
    return found->second.shape[0];
  }

  void refuse_experts() const {
    const std::int64_t experts = m_.find_int(key("expert_count")).value_or(0);
    if (experts > 0) {
      unsupported("expert_count", std::to_string(experts), "a mixture of experts is not supported");
    }
  }

  void add_special_tokens() {
    const auto copy = [&](const char* name, const char* stored) {
      if (const auto id = m_.find_int(stored)) config_[name] = *id;
    };
    copy("bos_token_id", "tokenizer.ggml.bos_token_id");
    copy("eos_token_id", "tokenizer.ggml.eos_token_id");
    copy("pad_token_id", "tokenizer.ggml.padding_token_id");
    // What ends a turn of a conversation ends an answer too.
    const auto end = m_.find_int("tokenizer.ggml.eos_token_id");
    const auto turn = m_.find_int("tokenizer.ggml.eot_token_id");
    if (end && turn && *end != *turn) config_["eos_token_id"] = {*end, *turn};
  }

  void set_type(const char* type, const char* class_name) {
    config_["model_type"] = type;
    config_["architectures"] = {class_name};
  }

  // --- llama, qwen2, minicpm -------------------------------------------------------------------

  void add_llama() {
    if (architecture_ == "qwen2") {
      set_type("qwen2", "Qwen2ForCausalLM");
      config_["use_sliding_window"] = false;
    } else if (architecture_ == "minicpm") {
      set_type("minicpm", "MiniCPMForCausalLM");
      add_scales();
    } else {
      set_type("llama", "LlamaForCausalLM");
    }
    const std::int64_t hidden = integer("embedding_length");
    const std::int64_t heads = integer("attention.head_count");
    config_["hidden_act"] = "silu";
    config_["hidden_size"] = hidden;
    config_["intermediate_size"] = integer("feed_forward_length");
    config_["num_hidden_layers"] = integer("block_count");
    config_["num_attention_heads"] = heads;
    config_["num_key_value_heads"] = m_.find_int(key("attention.head_count_kv")).value_or(heads);
    config_["max_position_embeddings"] = integer("context_length");
    config_["rms_norm_eps"] = number("attention.layer_norm_rms_epsilon");
    config_["attention_bias"] = file_.contains("blk.0.attn_output.bias");
    config_["mlp_bias"] = file_.contains("blk.0.ffn_down.bias");
    const std::int64_t head_dim =
        m_.find_int(key("attention.key_length")).value_or(heads > 0 ? hidden / heads : 0);
    config_["head_dim"] = head_dim;
    check_heads(head_dim);
    add_window();
    add_rope(head_dim);
  }

  void check_heads(std::int64_t head_dim) const {
    const auto values = m_.find_int(key("attention.value_length")).value_or(head_dim);
    if (values != head_dim) {
      unsupported("attention.value_length", std::to_string(values),
                  "values of another size than keys are not supported");
    }
    const auto rotated = m_.find_int(key("rope.dimension_count")).value_or(head_dim);
    if (rotated != head_dim) {
      unsupported("rope.dimension_count", std::to_string(rotated),
                  "heads that are rotated in part are not supported");
    }
  }

  // Mistral's models are llama.cpp's llama, with a window where they have one.
  void add_window() {
    const std::int64_t window = m_.find_int(key("attention.sliding_window")).value_or(0);
    if (window == 0) return;
    if (architecture_ != "llama") {
      unsupported("attention.sliding_window", std::to_string(window), "it is not supported here");
    }
    set_type("mistral", "MistralForCausalLM");
    config_["sliding_window"] = window;
  }

  // llama.cpp keeps the products in which MiniCPM's three scales occur.
  void add_scales() {
    const auto hidden = static_cast<double>(integer("embedding_length"));
    const double root = std::sqrt(static_cast<double>(integer("block_count")));
    config_["scale_emb"] = find_number("embedding_scale").value_or(12.0);
    config_["scale_depth"] = find_number("residual_scale").value_or(1.4 / root) * root;
    config_["dim_model_base"] = hidden / find_number("logit_scale").value_or(hidden / 256.0);
  }

  void add_rope(std::int64_t head_dim) {
    const double theta = find_number("rope.freq_base").value_or(10000.0);
    config_["rope_theta"] = theta;
    const std::string type = m_.find_string(key("rope.scaling.type")).value_or("none");
    if (file_.contains("rope_freqs.weight")) {
      config_["rope_scaling"] = llama3_scaling(theta, head_dim);
      return;
    }
    if (type == "none") return;
    if (type != "linear" && type != "yarn") {
      unsupported("rope.scaling.type", type, "only 'linear' and 'yarn' are supported");
    }
    config_["rope_scaling"] = {{"rope_type", type}, {"factor", number("rope.scaling.factor")}};
    const auto original = m_.find_int(key("rope.scaling.original_context_length"));
    if (original && type == "yarn") {
      config_["rope_scaling"]["original_max_position_embeddings"] = *original;
    }
  }

  // Llama 3's scaling is stored as what each frequency is divided by. All published models have
  // the limits below; the factor is that of the lowest frequency, and every other number must be
  // what the formula gives (specification: docs/models/llama.md).
  json llama3_scaling(double theta, std::int64_t head_dim) const {
    const double original = static_cast<double>(
        m_.find_int(key("rope.scaling.original_context_length")).value_or(8192));
    const Tensor divisors = file_.tensor("rope_freqs.weight").to_f32();
    const std::int64_t count = divisors.numel();
    if (count != head_dim / 2 || count == 0) {
      raise(ErrorKind::kCorrupt, "'{}': rope_freqs.weight has {} numbers for heads of {}",
            m_.origin(), count, head_dim);
    }
    const auto* values = divisors.data<float>();
    const Llama3Scaling scaling{original, static_cast<double>(values[count - 1]), 1.0, 4.0};
    for (std::int64_t i = 0; i < count; ++i) {
      const double w =
          std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      const double expected = w / scaling.frequency(w);
      if (!(std::abs(static_cast<double>(values[i]) - expected) <= 1e-3 * expected)) {
        raise(ErrorKind::kUnsupported,
              "'{}': rope_freqs.weight divides frequency {} by {}; Llama 3's rule gives {}",
              m_.origin(), i, values[i], expected);
      }
    }
    return {{"rope_type", "llama3"},
            {"factor", shortest(scaling.factor)},
            {"low_freq_factor", scaling.low},
            {"high_freq_factor", scaling.high},
            {"original_max_position_embeddings", static_cast<std::int64_t>(original)}};
  }

  // --- gpt2 ------------------------------------------------------------------------------------

  void add_gpt2() {
    set_type("gpt2", "GPT2LMHeadModel");
    config_["activation_function"] = "gelu_new";
    config_["n_embd"] = integer("embedding_length");
    config_["n_inner"] = integer("feed_forward_length");
    config_["n_layer"] = integer("block_count");
    config_["n_head"] = integer("attention.head_count");
    config_["n_positions"] = integer("context_length");
    config_["layer_norm_epsilon"] = number("attention.layer_norm_epsilon");
  }

  // --- mamba, mamba2 ---------------------------------------------------------------------------

  void add_state_space() {
    const bool second = architecture_ == "mamba2";
    if (m_.find_bool(key("ssm.dt_b_c_rms")).value_or(false)) {
      unsupported("ssm.dt_b_c_rms", "true", "Falcon Mamba's norms are not supported");
    }
    set_type(second ? "mamba2" : "mamba", second ? "Mamba2ForCausalLM" : "MambaForCausalLM");
    const std::int64_t hidden = integer("embedding_length"), inner = integer("ssm.inner_size");
    config_["hidden_size"] = hidden;
    config_["intermediate_size"] = inner;
    config_["expand"] = expansion(hidden, inner);
    config_["num_hidden_layers"] = integer("block_count");
    config_["state_size"] = integer("ssm.state_size");
    config_["conv_kernel"] = integer("ssm.conv_kernel");
    config_["layer_norm_epsilon"] = number("attention.layer_norm_rms_epsilon");
    config_["use_bias"] = file_.contains("blk.0.ssm_in.bias");
    config_["use_conv_bias"] = file_.contains("blk.0.ssm_conv1d.bias");
    config_["hidden_act"] = "silu";
    const std::int64_t rank = integer("ssm.time_step_rank");
    if (!second) {
      config_["time_step_rank"] = rank;
      return;
    }
    if (rank < 1 || inner % rank != 0) {
      raise(ErrorKind::kCorrupt, "'{}': {} is {}, which does not divide {} ({})", m_.origin(),
            key("ssm.time_step_rank"), rank, key("ssm.inner_size"), inner);
    }
    config_["num_heads"] = rank;
    config_["head_dim"] = inner / rank;
    config_["n_groups"] = integer("ssm.group_count");
  }

  // A factor of which int(factor * hidden) is `inner`.
  double expansion(std::int64_t hidden, std::int64_t inner) const {
    if (hidden < 1 || inner < 1) {
      raise(ErrorKind::kCorrupt, "'{}': {} is {} and {} is {}", m_.origin(),
            key("embedding_length"), hidden, key("ssm.inner_size"), inner);
    }
    const double factor = static_cast<double>(inner) / static_cast<double>(hidden);
    const bool short_of = static_cast<std::int64_t>(factor * static_cast<double>(hidden)) < inner;
    return short_of ? std::nextafter(factor, factor + 1) : factor;
  }

  const GgufFile& file_;
  const GgufMetadata& m_;
  std::string architecture_;
  json config_ = json::object();
};

}  // namespace

json gguf_config(const GgufFile& file) {
  return ConfigBuilder(file).build();
}

}  // namespace aquatint
