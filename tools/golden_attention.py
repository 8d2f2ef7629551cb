"""The attention models of make_golden.py: Llama, Mistral, Qwen2, MiniCPM and GPT-2, one variant for
each thing their configurations can ask for, with the logits that transformers computes in float32.

MiniCPM is not part of transformers. It is Llama with three factors, which can be multiplied into
the weights of a Llama model with a head of its own; transformers runs that one. Of "dynamic" rotary
scaling beyond the trained length, transformers gives other logits for a text in one run than token
by token, because the frequencies follow the length of the run; the logits here are the latter.
"""

import numpy as np

import make_gla_variants

TOKENS = 70  # more than one block of keys, tile of queries, and the longest window below

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 40,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "rope_theta": 10000.0,
}
MISTRAL = LLAMA | {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
MISTRAL |= {"sliding_window": None}
QWEN2 = LLAMA | {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
QWEN2 |= {"num_hidden_layers": 3, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6}
MINICPM = LLAMA | {"architectures": ["MiniCPMForCausalLM"]}
MINICPM |= {"scale_emb": 3.0, "scale_depth": 1.4, "dim_model_base": 16}
del MINICPM["model_type"], MINICPM["rope_theta"]  # as in the first files
GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 96,
    "vocab_size": 40,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}

# Family: variant: (base, changes, how it is written and made). A change to None removes the key.
FAMILIES = {
    "llama": {
        "plain": (LLAMA, {}, {}),
        "float32": (LLAMA, {"num_hidden_layers": 1}, {"dtype": "F32"}),
        "tied_head": (LLAMA, {"tie_word_embeddings": True}, {"tied": True}),
        "old_buffers": (LLAMA, {}, {"buffers": True}),
        "heads_alike": (LLAMA, {"num_key_value_heads": None}, {}),
        "one_kv_head": (LLAMA, {"num_key_value_heads": 1}, {}),
        "head_dim": (LLAMA, {"head_dim": 10}, {}),
        "odd_sizes": (
            LLAMA,
            {
                "hidden_size": 42,
                "num_attention_heads": 3,
                "num_key_value_heads": 1,
                "intermediate_size": 50,
                "rms_norm_eps": 0.05,
            },
            {},
        ),
        "biases": (LLAMA, {"attention_bias": True, "mlp_bias": True}, {}),
        "gelu": (LLAMA, {"hidden_act": "gelu"}, {}),
        "rope_theta": (LLAMA, {"rope_theta": 500.0}, {}),
        "rope_parameters": (
            LLAMA,
            {"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
            {},
        ),
        "rope_linear": (LLAMA, {"rope_scaling": {"type": "linear", "factor": 4.0}}, {}),
        "rope_dynamic": (LLAMA, {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, {}),
        "rope_dynamic_long": (
            LLAMA,
            {
                "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
                "max_position_embeddings": 32,
            },
            {"stepwise": True},
        ),
        "rope_llama3": (LLAMA, {"head_dim": 16, "rope_scaling": LLAMA3}, {}),
        "rope_llama3_parameters": (
            LLAMA,
            {
                "head_dim": 16,
                "rope_theta": None,
                "rope_parameters": LLAMA3 | {"rope_theta": 10000.0},
            },
            {},
        ),
        "rope_yarn": (LLAMA, {"head_dim": 16, "rope_scaling": YARN}, {}),
        "rope_yarn_numbers": (
            LLAMA,
            {
                "head_dim": 16,
                "rope_scaling": YARN
                | {"beta_fast": 8.0, "beta_slow": 2.0, "attention_factor": 1.3, "truncate": False},
            },
            {},
        ),
    },
    "mistral": {
        "plain": (MISTRAL, {}, {}),
        "window": (MISTRAL, {"sliding_window": 13}, {}),
        "window_head_dim": (MISTRAL, {"sliding_window": 1, "head_dim": 12}, {}),
    },
    "qwen2": {
        "plain": (QWEN2, {}, {}),
        "tied_head": (QWEN2, {"tie_word_embeddings": True}, {"tied": True}),
        "unused_window": (QWEN2, {"use_sliding_window": False, "sliding_window": 7}, {}),
        "window_of_late_blocks": (
            QWEN2,
            {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
            {},
        ),
        "layer_types": (
            QWEN2,
            {
                "use_sliding_window": True,
                "sliding_window": 7,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            },
            {},
        ),
    },
    "minicpm": {
        "plain": (MINICPM, {}, {"tied": True}),
        "all_heads_untied": (
            MINICPM,
            {
                "model_type": "minicpm",
                "num_key_value_heads": 4,
                "num_hidden_layers": 3,
                "tie_word_embeddings": False,
                "rope_theta": 10000.0,
            },
            {},
        ),
    },
    "gpt2": {
        "plain": (GPT2, {}, {}),
        "no_prefix": (GPT2, {}, {"prefix": "", "buffers": True}),
        "untied_head": (GPT2, {"tie_word_embeddings": False}, {"tied": False}),
        "inverse_block_scale": (
            GPT2,
            {
                "scale_attn_by_inverse_layer_idx": True,
                "n_layer": 3,
                "reorder_and_upcast_attn": True,
            },
            {},
        ),
        "unscaled_scores": (GPT2, {"scale_attn_weights": False}, {}),
        "inner_gelu": (GPT2, {"n_inner": 40, "activation_function": "gelu"}, {}),
        "odd_sizes": (
            GPT2,
            {
                "n_embd": 33,
                "n_head": 3,
                "activation_function": "relu",
                "layer_norm_epsilon": 0.05,
            },
            {},
        ),
    },
}


class Weights(make_gla_variants.Weights):
    def linear(self, name, rows, columns, bias=False, gain=1.0):
        self.matrix(name, rows, columns, gain)
        if bias:
            self.vector(name + ".bias", rows, 0.0, 0.5)

    def conv1d(self, name, rows, columns, gain=1.0):
        self.linear(name, rows, columns, True, gain)
        self.tensors[name + ".weight"] = self.tensors[name + ".weight"].T

    def layer_norm(self, name, size):
        self.norm(name, size)
        self.vector(name + ".bias", size, 0.0, 0.2)


def llama_weights(config, options):
    w = Weights()
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    size = config.get("head_dim") or hidden // heads
    biased = config.get("attention_bias", False)
    qkv_biased = biased or config.get("model_type") == "qwen2"
    mlp_biased = config.get("mlp_bias", False)
    w.matrix("model.embed_tokens", config["vocab_size"], hidden, np.sqrt(hidden))
    for i in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{i}."
        w.norm(prefix + "input_layernorm", hidden)
        w.linear(prefix + "self_attn.q_proj", heads * size, hidden, qkv_biased, 2.0)
        w.linear(prefix + "self_attn.k_proj", kv_heads * size, hidden, qkv_biased, 1.5)
        w.linear(prefix + "self_attn.v_proj", kv_heads * size, hidden, qkv_biased)
        w.linear(prefix + "self_attn.o_proj", hidden, heads * size, biased, 2.0)
        w.norm(prefix + "post_attention_layernorm", hidden)
        w.linear(prefix + "mlp.gate_proj", inner, hidden, mlp_biased)
        w.linear(prefix + "mlp.up_proj", inner, hidden, mlp_biased)
        w.linear(prefix + "mlp.down_proj", hidden, inner, mlp_biased)
        if options.get("buffers"):
            w.tensors[prefix + "self_attn.rotary_emb.inv_freq"] = np.full(size // 2, 0.5)
    w.norm("model.norm", hidden)
    if not options.get("tied"):
        w.matrix("lm_head", config["vocab_size"], hidden, 3.0)
    return w.tensors


def gpt2_weights(config, options):
    w = Weights()
    hidden, prefix = config["n_embd"], options.get("prefix", "transformer.")
    inner = config.get("n_inner") or 4 * hidden
    w.matrix(prefix + "wte", config["vocab_size"], hidden, np.sqrt(hidden))
    w.matrix(prefix + "wpe", config["n_positions"], hidden, 0.5 * np.sqrt(hidden))
    for i in range(config["n_layer"]):
        block = f"{prefix}h.{i}."
        w.layer_norm(block + "ln_1", hidden)
        w.conv1d(block + "attn.c_attn", 3 * hidden, hidden, 1.2)
        w.conv1d(block + "attn.c_proj", hidden, hidden, 2.0)
        w.layer_norm(block + "ln_2", hidden)
        w.conv1d(block + "mlp.c_fc", inner, hidden)
        w.conv1d(block + "mlp.c_proj", hidden, inner)
        if options.get("buffers"):
            positions = config["n_positions"]
            mask = np.tril(np.ones((positions, positions)))
            w.tensors[block + "attn.bias"] = mask.reshape(1, 1, positions, positions)
            w.tensors[block + "attn.masked_bias"] = np.array(-1e4)
    w.layer_norm(prefix + "ln_f", hidden)
    if options.get("tied") is False:
        w.matrix("lm_head", config["vocab_size"], hidden, 3.0)
    return w.tensors


def random_weights(config, options):
    family = gpt2_weights if config.get("model_type") == "gpt2" else llama_weights
    return family(config, options)


def folded_minicpm(config, folder):
    """The Llama model that computes what the MiniCPM checkpoint means."""
    import safetensors.torch
    import torch
    import transformers

    keys = {k: v for k, v in config.items() if k not in ("model_type", "architectures")}
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**keys | {"tie_word_embeddings": False})
    )
    weights = {
        k: v.to(torch.float64)
        for k, v in safetensors.torch.load_file(folder / "model.safetensors").items()
    }
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    weights["lm_head.weight"] = head / (config["hidden_size"] / config["dim_model_base"])
    weights["model.embed_tokens.weight"] = (
        weights["model.embed_tokens.weight"] * config["scale_emb"]
    )
    residual = config["scale_depth"] / config["num_hidden_layers"] ** 0.5
    for name in weights:
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weights[name] = weights[name] * residual
    model.load_state_dict({k: v.to(torch.float32) for k, v in weights.items()})
    return model


def logits(family, config, options, folder, ids):
    """[tokens, vocabulary], as transformers computes them."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if family == "minicpm":
        model = folded_minicpm(config, folder)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
    model = model.eval()
    tokens = torch.tensor(ids)
    with torch.no_grad():
        if not options.get("stepwise"):
            return model(tokens, use_cache=False).logits[0].numpy()
        cache, rows = transformers.DynamicCache(), []
        for i in range(tokens.shape[1]):
            rows.append(model(tokens[:, i : i + 1], cache=cache).logits[0, -1].numpy())
    return np.stack(rows)
