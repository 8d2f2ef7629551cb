#!/usr/bin/env python3
"""Gated linear attention in NumPy and float64, from its definition: what the C++ must give.

Reads a Hugging Face folder (bfloat16, float16 or float32 safetensors) without any deep-learning
library, steps through tokens with the recurrence, and
  --check        compares logits with the folder's reference.safetensors, or expected.safetensors,
  --text FILE    computes perplexity by --protocol (lm-eval, gptq, llama.cpp), with token ids of the
                 tokenizers library.
"""

import argparse
import json
import math
import pathlib
import struct

import numpy as np

DTYPES = {"F32": np.float32, "F16": np.float16, "I32": np.int32, "I64": np.int64}


def read_safetensors(path):
    """{name: array}; floating-point tensors as float64."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            raw = np.frombuffer(data[begin:end], np.uint16).astype(np.uint32) << 16
            values = raw.view(np.float32)
        else:
            values = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
        values = values.reshape(entry["shape"])
        tensors[name] = values if values.dtype.kind == "i" else values.astype(np.float64)
    return tensors


def rms_norm(x, weight, eps):
    x = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)
    return x if weight is None else x * weight


def silu(x):
    return x / (1 + np.exp(-x))


def log_sigmoid(x):
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


ACTIVATIONS = {
    "swish": silu,
    "silu": silu,
    "relu": lambda x: np.maximum(x, 0),
    "sqrelu": lambda x: np.maximum(x, 0) ** 2,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "logsigmoid": log_sigmoid,
    "gelu": gelu_tanh,
}


def causal_convolution(x, weight):
    """x: [batch, tokens, channels]; weight: [channels, 1, taps], the last for the current token."""
    taps = weight.shape[-1]
    padded = np.pad(x, ((0, 0), (taps - 1, 0), (0, 0)))
    return sum(padded[:, j : j + x.shape[1]] * weight[:, 0, j] for j in range(taps))


def rotate(x, theta):
    """Rotary positions in the half-rotation pairing; x: [batch, tokens, heads, size]."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] * theta ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


class Gla:
    """Forward pass of a GLA checkpoint, every variant its configuration can ask for."""

    def __init__(self, folder):
        config = json.loads((folder / "config.json").read_text())
        self.setup(config, read_safetensors(folder / "model.safetensors"))

    @classmethod
    def of(cls, config, weights):
        model = cls.__new__(cls)
        model.setup(config, weights)
        return model

    def setup(self, config, weights):
        self.config = config
        self.weights = weights
        self.heads = config.get("num_heads", 4)
        self.eps = config.get("norm_eps", config.get("rms_norm_eps", 1e-6))
        self.activation = ACTIVATIONS[config.get("hidden_act", "swish")]
        self.attention_layers = {}
        entries = config.get("attn") or []
        for entry in [entries] if isinstance(entries, dict) else entries:
            self.attention_layers.update({layer: entry for layer in entry["layers"]})

    def part(self, prefix):
        return {k[len(prefix) :]: v for k, v in self.weights.items() if k.startswith(prefix)}

    def linear(self, x, w, name):
        y = x @ w[name + ".weight"].T
        return y + w[name + ".bias"] if name + ".bias" in w else y

    def project(self, x, w):
        """q, k [batch, tokens, heads, dk], v [.., dv] and log decays [.., dk]."""
        batch, tokens, _ = x.shape
        q, k, v = (self.linear(x, w, f"{n}_proj") for n in "qkv")
        r = self.linear(self.linear(x, w, "gk_proj.0"), w, "gk_proj.1")
        if self.config.get("use_short_conv"):
            q, k, v = (
                silu(causal_convolution(y, w[f"{n}_conv1d.weight"]))
                for n, y in (("q", q), ("k", k), ("v", v))
            )
        key_dim = q.shape[-1] // self.heads
        value_dim = w["o_proj.weight"].shape[1] // self.heads
        q, k, r = (y.reshape(batch, tokens, -1, key_dim) for y in (q, k, r))
        v = v.reshape(batch, tokens, -1, value_dim)
        groups = self.heads // k.shape[2]
        k, v, r = (np.repeat(y, groups, axis=2) for y in (k, v, r))
        decay = log_sigmoid(r) / 16
        if self.config.get("clamp_min") is not None:
            decay = np.maximum(decay, self.config["clamp_min"])
        if self.config.get("feature_map"):
            q, k = (ACTIVATIONS[self.config["feature_map"]](y) for y in (q, k))
        return q * key_dim**-0.5, k, v, decay

    def mixer(self, x, prefix):
        """Gated linear attention; x: [batch, tokens, hidden]."""
        w = self.part(prefix)
        batch, tokens, _ = x.shape
        q, k, v, decay = self.project(x, w)
        decay = np.exp(decay)
        state = np.zeros((batch, self.heads, k.shape[-1], v.shape[-1]))
        out = np.empty_like(v)
        for t in range(tokens):
            state = state * decay[:, t, :, :, None] + k[:, t, :, :, None] * v[:, t, :, None, :]
            out[:, t] = np.einsum("bhk,bhkv->bhv", q[:, t], state)
        norm = w.get("g_norm_swish_gate.weight", w.get("g_norm.weight"))
        out = rms_norm(out, norm, self.eps).reshape(batch, tokens, -1)
        if self.config.get("use_output_gate", True):
            out = out * self.activation(self.linear(x, w, "g_proj"))
        return self.linear(out, w, "o_proj")

    def attention(self, x, prefix, entry):
        """Softmax attention of a hybrid layer; x: [batch, tokens, hidden]."""
        w = self.part(prefix)
        batch, tokens, hidden = x.shape
        heads = entry["num_heads"]
        size = hidden // heads
        q, k, v = (
            self.linear(x, w, f"{n}_proj").reshape(batch, tokens, -1, size) for n in "qkv"
        )
        theta = entry.get("rope_theta", 10000.0)
        q, k = rotate(q, theta), rotate(k, theta)
        k, v = (np.repeat(y, heads // y.shape[2], axis=2) for y in (k, v))
        scores = np.einsum("bihd,bjhd->bhij", q, k) * size**-0.5
        i, j = np.arange(tokens)[:, None], np.arange(tokens)
        visible = j <= i
        if entry.get("window_size") is not None:
            visible &= j > i - entry["window_size"]
        weights = np.exp(log_softmax(np.where(visible, scores, -np.inf)))
        out = np.einsum("bhij,bjhd->bihd", weights, v).reshape(batch, tokens, hidden)
        return self.linear(out, w, "o_proj")

    def mlp(self, x, prefix):
        gate = self.weights[prefix + "gate_proj.weight"]
        up = self.weights.get(prefix + "up_proj.weight")
        if up is None:
            gate, up = np.split(gate, 2)
        inner = self.activation(x @ gate.T) * (x @ up.T)
        return inner @ self.weights[prefix + "down_proj.weight"].T

    def logits(self, ids):
        """ids: [batch, tokens]; returns [batch, tokens, vocabulary]."""
        w = self.weights
        hidden = w["model.embeddings.weight"][ids]
        for i in range(self.config["num_hidden_layers"]):
            p = f"model.layers.{i}."
            x = rms_norm(hidden, w[p + "attn_norm.weight"], self.eps)
            if i in self.attention_layers:
                hidden = hidden + self.attention(x, p + "attn.", self.attention_layers[i])
            else:
                hidden = hidden + self.mixer(x, p + "attn.")
            hidden = hidden + self.mlp(
                rms_norm(hidden, w[p + "mlp_norm.weight"], self.eps), p + "mlp."
            )
        head = w.get("lm_head.weight", w["model.embeddings.weight"])
        return rms_norm(hidden, w["model.norm.weight"], self.eps) @ head.T


# Outputs of one GLA layer of low rank 3 on three tokens, worked out apart from this program.
GOLDEN_LAYER = [
    [2.588316886, -0.789218652, -1.382682478, 2.901446444],
    [2.803197109, -2.746638610, 1.392651541, 0.619181774],
    [1.678603285, -0.278890126, -1.252562249, 2.192342301],
]


def self_test():
    """The layer with weights s * sin(a * i + b), and its known outputs."""

    def matrix(rows, columns, a, b, s=1.0):
        return s * np.sin(a * np.arange(rows * columns) + b).reshape(rows, columns)

    weights = {
        "q_proj.weight": matrix(4, 4, 0.31, 0.1),
        "k_proj.weight": matrix(4, 4, 0.37, 0.2),
        "v_proj.weight": matrix(4, 4, 0.41, 0.3),
        "g_proj.weight": matrix(4, 4, 0.43, 0.4),
        "gk_proj.0.weight": matrix(3, 4, 0.47, 0.5),
        "gk_proj.1.weight": matrix(4, 3, 0.53, 0.6, 4.0),
        "gk_proj.1.bias": matrix(1, 4, 0.59, 0.7)[0],
        "o_proj.weight": matrix(4, 4, 0.61, 0.8),
        "g_norm.weight": np.array([1.0, 1.5]),
    }
    model = Gla.of({"num_heads": 2, "num_hidden_layers": 0}, weights)
    out = model.mixer(matrix(3, 4, 0.7, 0.3)[None], "")[0]
    difference = np.abs(out - np.array(GOLDEN_LAYER)).max()
    if not difference < 1e-8:
        raise SystemExit(f"self-test: the layer differs from its known outputs by {difference:.3g}")


def encode(folder, text, add_bos):
    """Ids, after the beginning-of-text token where the configuration adds it, and its id."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    bos = tokenizer.token_to_id(config["bos_token"])
    return ([bos] if add_bos and config.get("add_bos_token") else []) + ids, bos


def plan(ids, bos, protocol, window, add_bos):
    """[(input tokens, number of last rows scored, their targets)]."""
    windows = []
    if protocol == "lm-eval":
        done = 0
        while done < len(ids):
            new = min(window, len(ids) - done)
            end = done + new
            context = [bos] if done == 0 else ids[end - window - 1 : end - new]
            windows.append(((context + ids[done:end])[:-1], ids[done:end]))
            done = end
    for begin in range(0, len(ids) - window + 1 if protocol != "lm-eval" else 0, window):
        tokens = ids[begin : begin + window]
        if protocol == "llama.cpp":
            targets = tokens[window // 2 + 1 :]
            windows.append((([bos] if add_bos else tokens[:1]) + tokens[1:-1], targets))
        else:
            windows.append((tokens[:-1], tokens[1:]))
    return windows


def scored_logits(model, windows):
    """Yields (logits of the scored rows, targets) of every window."""
    for tokens, targets in windows:
        rows = model.logits(np.array([tokens]))[0, -len(targets) :]
        yield rows, np.array(targets)


def losses(model, windows):
    """-log p of every scored token."""
    parts = [
        -log_softmax(rows)[np.arange(len(targets)), targets]
        for rows, targets in scored_logits(model, windows)
    ]
    return np.concatenate(parts)


def check(folder):
    model = Gla(folder)
    files = [folder / "reference.safetensors", folder / "expected.safetensors"]
    reference = read_safetensors(next(path for path in files if path.exists()))
    for name in sorted(n for n in reference if n.endswith("input_ids")):
        expected = reference[name.replace("input_ids", "logits")]
        ids = reference[name].reshape(1, -1)
        difference = np.abs(model.logits(ids)[0] - expected.reshape(ids.size, -1)).max()
        print(f"{folder.name} {name}: {ids.size} tokens, largest difference {difference:.3g}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--protocol", choices=["lm-eval", "gptq", "llama.cpp"], default="lm-eval")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--bos", choices=["tokenizer", "none"], default="tokenizer")
    parser.add_argument("--max-tokens", type=int)
    arguments = parser.parse_args()
    self_test()
    if arguments.check:
        check(arguments.model)
    if arguments.text:
        add_bos = arguments.bos == "tokenizer"
        text = arguments.text.read_text(encoding="utf-8")
        ids, bos = encode(arguments.model, text, add_bos)
        ids = ids[: arguments.max_tokens]
        windows = plan(ids, bos, arguments.protocol, arguments.window, add_bos)
        nll = losses(Gla(arguments.model), windows)
        print(
            f"{len(ids)} tokens, {nll.size} scored: nll {nll.sum():.6f}, "
            f"perplexity {math.exp(nll.mean()):.6f}"
        )


if __name__ == "__main__":
    main()
