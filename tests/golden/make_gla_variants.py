#!/usr/bin/env python3
"""Writes gla/<variant>/: tiny checkpoints with random weights, one for each thing a GLA
configuration can ask for, and the logits tools/reference_gla.py computes for them in float64.

The same seed gives every variant; checkpoints that should be one function in two spellings (split
and fused feed-forward, for one) get the same weights.
"""

import json
import pathlib
import shutil
import struct
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import reference_gla  # noqa: E402

OUTPUT = pathlib.Path(__file__).resolve().parent / "gla"
TOKENS = 70  # more than one chunk of the chunked form
BASE = {
    "model_type": "gla",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_heads": 2,
    "vocab_size": 32,
    "intermediate_size": 48,
    "norm_eps": 1e-6,
}
WINDOW = {"layers": [1], "num_heads": 4, "num_kv_heads": 2, "window_size": 13, "qkv_bias": True}

# Name: (changes to BASE, how the file is written).
VARIANTS = {
    "plain": ({"num_hidden_layers": 2}, {}),
    "fused_gate_proj": ({"num_hidden_layers": 2}, {"fused": True}),
    "float16": ({}, {"dtype": "F16"}),
    "float32": ({}, {"dtype": "F32"}),
    "tied_head": ({"tie_word_embeddings": True}, {"tied": True}),
    "tied_head_key_absent": ({}, {"tied": True}),
    "default_intermediate": ({"intermediate_size": None, "num_heads": 4}, {}),
    "conv": ({"use_short_conv": True, "num_hidden_layers": 2}, {}),
    "conv_1": ({"use_short_conv": True, "conv_size": 1}, {}),
    "conv_3_kv_heads": (
        {"use_short_conv": True, "conv_size": 3, "num_heads": 4, "num_kv_heads": 2},
        {},
    ),
    "conv_8": ({"use_short_conv": True, "conv_size": 8}, {}),
    "kv_heads_1": ({"num_heads": 4, "num_kv_heads": 1}, {}),
    "kv_heads_2": ({"num_heads": 4, "num_kv_heads": 2, "num_hidden_layers": 2}, {}),
    "three_heads": ({"hidden_size": 36, "num_heads": 3}, {}),
    "feature_relu": ({"feature_map": "relu"}, {}),
    "feature_sigmoid": ({"feature_map": "sigmoid"}, {}),
    "feature_logsigmoid": ({"feature_map": "logsigmoid"}, {}),
    "feature_swish": ({"feature_map": "swish"}, {}),
    "feature_sqrelu": ({"feature_map": "sqrelu"}, {}),
    "feature_gelu": ({"feature_map": "gelu"}, {}),
    "no_output_gate": ({"use_output_gate": False}, {"head_norm": "g_norm"}),
    "clamp_min": ({"clamp_min": -0.05}, {"gate_bias": -3.0}),
    "steep_gates": ({}, {"gate_bias": -150.0}),
    "rms_norm_eps": ({"norm_eps": None, "rms_norm_eps": 0.05}, {}),
    "norm_eps": ({"norm_eps": 0.05, "rms_norm_eps": 1e-6}, {}),
    "no_fuse_norm": ({"fuse_norm": False}, {"head_norm": "g_norm"}),
    "no_affine": ({"elementwise_affine": False}, {"head_norm": None}),
    "expand": ({"expand_k": 1.0, "expand_v": 1.5}, {}),
    "act_gelu": ({"hidden_act": "gelu"}, {"head_norm": "g_norm"}),
    "act_relu": ({"hidden_act": "relu"}, {"head_norm": "g_norm"}),
    "act_silu": ({"hidden_act": "silu"}, {"head_norm": "g_norm"}),
    "hybrid": ({"num_hidden_layers": 3, "attn": {"layers": [1], "num_heads": 4}}, {}),
    "hybrid_window": ({"num_hidden_layers": 3, "attn": WINDOW}, {}),
    "hybrid_list": (
        {
            "num_hidden_layers": 3,
            "attn": [WINDOW, {"layers": [2], "num_heads": 2, "rope_theta": 500.0}],
        },
        {},
    ),
    # As fla's configuration for 7B parameters from before 2024-05.
    "legacy_7b": (
        {
            "expand_k": 1,
            "expand_v": 1,
            "num_heads": 4,
            "num_kv_heads": 2,
            "feature_map": "relu",
            "use_output_gate": False,
            "norm_eps": None,
            "rms_norm_eps": 1e-5,
        },
        {"head_norm": "g_norm", "fused": True},
    ),
}


class Weights:
    """Draws tensors in a fixed order."""

    def __init__(self):
        self.random = np.random.default_rng(20240328)
        self.tensors = {}

    def matrix(self, name, rows, columns, gain=1.0):
        values = self.random.standard_normal((rows, columns)) * gain / np.sqrt(columns)
        self.tensors[name + ".weight"] = values

    def norm(self, name, size):
        self.tensors[name + ".weight"] = 1 + 0.2 * self.random.standard_normal(size)

    def vector(self, name, size, mean, spread):
        self.tensors[name] = mean + spread * self.random.standard_normal(size)


def gla_mixer(w, config, prefix, options):
    hidden, heads = config["hidden_size"], config["num_heads"]
    kv_heads = config.get("num_kv_heads") or heads
    key_dim = int(hidden * config.get("expand_k", 0.5))
    value_dim = int(hidden * config.get("expand_v", 1.0))
    k_rows, v_rows = key_dim * kv_heads // heads, value_dim * kv_heads // heads
    w.matrix(prefix + "q_proj", key_dim, hidden, 2.0)
    w.matrix(prefix + "k_proj", k_rows, hidden)
    w.matrix(prefix + "v_proj", v_rows, hidden)
    if config.get("use_output_gate", True):
        w.matrix(prefix + "g_proj", value_dim, hidden)
    w.matrix(prefix + "gk_proj.0", 16, hidden)
    w.matrix(prefix + "gk_proj.1", k_rows, 16, 4.0)
    w.vector(prefix + "gk_proj.1.bias", k_rows, options.get("gate_bias", 1.0), 2.0)
    if config.get("use_short_conv"):
        taps = config.get("conv_size", 4)
        for name, channels in (("q", key_dim), ("k", k_rows), ("v", v_rows)):
            w.matrix(f"{prefix}{name}_conv1d", channels, taps, 1.5)
            key = f"{prefix}{name}_conv1d.weight"
            w.tensors[key] = w.tensors[key].reshape(channels, 1, taps)
    head_norm = options.get("head_norm", "g_norm_swish_gate")
    if head_norm:
        w.norm(prefix + head_norm, value_dim // heads)
    w.matrix(prefix + "o_proj", hidden, value_dim)


def attention(w, config, prefix, entry):
    hidden, heads = config["hidden_size"], entry["num_heads"]
    kv_rows = hidden // heads * entry.get("num_kv_heads", heads)
    for name, rows in (("q", hidden), ("k", kv_rows), ("v", kv_rows)):
        w.matrix(f"{prefix}{name}_proj", rows, hidden, 1.5)
        if entry.get("qkv_bias"):
            w.vector(f"{prefix}{name}_proj.bias", rows, 0.0, 0.5)
    w.matrix(prefix + "o_proj", hidden, hidden)


def mlp(w, config, prefix, options):
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    if inner is None:
        inner = -(-int(hidden * 4 * 2 / 3) // 256) * 256
    w.matrix(prefix + "gate_proj", inner, hidden)
    w.matrix(prefix + "up_proj", inner, hidden)
    w.matrix(prefix + "down_proj", hidden, inner)
    if options.get("fused"):
        parts = [w.tensors[f"{prefix}gate_proj.weight"], w.tensors.pop(f"{prefix}up_proj.weight")]
        w.tensors[f"{prefix}gate_proj.weight"] = np.concatenate(parts)


def random_weights(config, options):
    w = Weights()
    hidden = config["hidden_size"]
    entries = config.get("attn") or []
    entries = [entries] if isinstance(entries, dict) else entries
    by_layer = {layer: entry for entry in entries for layer in entry["layers"]}
    w.matrix("model.embeddings", config["vocab_size"], hidden, np.sqrt(hidden))
    for i in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{i}."
        w.norm(prefix + "attn_norm", hidden)
        if i in by_layer:
            attention(w, config, prefix + "attn.", by_layer[i])
        else:
            gla_mixer(w, config, prefix + "attn.", options)
        w.norm(prefix + "mlp_norm", hidden)
        mlp(w, config, prefix + "mlp.", options)
    w.norm("model.norm", hidden)
    if not options.get("tied"):
        w.matrix("lm_head", config["vocab_size"], hidden, 3.0)
    return w.tensors


def encode(values, dtype):
    if dtype == "BF16":
        bits = values.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return values.astype({"F16": "<f2", "F32": "<f4", "I32": "<i4"}[dtype]).tobytes()


def write_safetensors(path, tensors):
    """tensors: {name: (array, dtype name)}."""
    header, data = {}, b""
    for name, (values, dtype) in tensors.items():
        encoded = encode(values, dtype)
        end = len(data) + len(encoded)
        offsets = [len(data), end]
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": offsets}
        data += encoded
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def make(name):
    changes, options = VARIANTS[name]
    config = {k: v for k, v in {**BASE, **changes}.items() if v is not None or k not in BASE}
    full = {**BASE, **changes}
    folder = OUTPUT / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    dtype = options.get("dtype", "BF16")
    weights = random_weights(full, options)
    write_safetensors(folder / "model.safetensors", {k: (v, dtype) for k, v in weights.items()})

    ids = np.random.default_rng(7).integers(0, config["vocab_size"], (1, TOKENS))
    logits = reference_gla.Gla(folder).logits(ids)[0]
    expected = {"input_ids": (ids[0], "I32"), "logits": (logits, "F32")}
    write_safetensors(folder / "expected.safetensors", expected)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{name}: {size} bytes, logits from {logits.min():.2f} to {logits.max():.2f}")
    return size


def main():
    reference_gla.self_test()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    print(sum(make(name) for name in VARIANTS), "bytes in all")


if __name__ == "__main__":
    main()
