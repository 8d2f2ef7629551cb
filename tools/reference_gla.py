#!/usr/bin/env python3
"""Gated linear attention in NumPy and float64, from its definition: what the C++ must give.

Reads a Hugging Face folder (bfloat16, float16 or float32 safetensors) without any deep-learning
library, steps through tokens with the recurrence, and
  --check        compares logits with the folder's reference.safetensors,
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
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def log_sigmoid(x):
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


class Gla:
    """Forward pass of a GLA checkpoint without short convolutions and hybrid layers."""

    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        if self.config.get("use_short_conv") or self.config.get("attn"):
            raise SystemExit("short convolutions and hybrid layers are not covered here")
        if self.config.get("feature_map") or self.config.get("clamp_min") is not None:
            raise SystemExit("feature_map and clamp_min are not covered here")
        self.weights = read_safetensors(folder / "model.safetensors")
        self.heads = self.config["num_heads"]
        self.eps = self.config.get("norm_eps", 1e-6)

    def mixer(self, x, prefix):
        """x: [batch, tokens, hidden]."""
        w = {k[len(prefix) :]: v for k, v in self.weights.items() if k.startswith(prefix)}
        batch, tokens, _ = x.shape

        q, k, v = (x @ w[f"{n}_proj.weight"].T for n in "qkv")
        r = x @ w["gk_proj.0.weight"].T @ w["gk_proj.1.weight"].T + w["gk_proj.1.bias"]
        key_dim = q.shape[-1] // self.heads
        value_dim = w["o_proj.weight"].shape[1] // self.heads
        q, k, r = (y.reshape(batch, tokens, -1, key_dim) for y in (q, k, r))
        v = v.reshape(batch, tokens, -1, value_dim)
        groups = self.heads // k.shape[2]
        k, v, r = (np.repeat(y, groups, axis=2) for y in (k, v, r))
        decay = np.exp(log_sigmoid(r) / 16)
        q = q * q.shape[-1] ** -0.5

        state = np.zeros((batch, self.heads, k.shape[-1], v.shape[-1]))
        out = np.empty_like(v)
        for t in range(tokens):
            state = state * decay[:, t, :, :, None] + k[:, t, :, :, None] * v[:, t, :, None, :]
            out[:, t] = np.einsum("bhk,bhkv->bhv", q[:, t], state)
        norm = w.get("g_norm_swish_gate.weight", w.get("g_norm.weight"))
        out = rms_norm(out, norm, self.eps).reshape(batch, tokens, -1)
        if "g_proj.weight" in w:
            out = out * silu(x @ w["g_proj.weight"].T)
        return out @ w["o_proj.weight"].T

    def mlp(self, x, prefix):
        gate = self.weights[prefix + "gate_proj.weight"]
        up = self.weights.get(prefix + "up_proj.weight")
        if up is None:
            gate, up = np.split(gate, 2)
        return (silu(x @ gate.T) * (x @ up.T)) @ self.weights[prefix + "down_proj.weight"].T

    def logits(self, ids):
        """ids: [batch, tokens]; returns [batch, tokens, vocabulary]."""
        w = self.weights
        hidden = w["model.embeddings.weight"][ids]
        for i in range(self.config["num_hidden_layers"]):
            p = f"model.layers.{i}."
            hidden = hidden + self.mixer(
                rms_norm(hidden, w[p + "attn_norm.weight"], self.eps), p + "attn."
            )
            hidden = hidden + self.mlp(
                rms_norm(hidden, w[p + "mlp_norm.weight"], self.eps), p + "mlp."
            )
        head = w.get("lm_head.weight", w["model.embeddings.weight"])
        return rms_norm(hidden, w["model.norm.weight"], self.eps) @ head.T


def encode(folder, text, add_bos):
    """Ids, with the beginning-of-text token in front where the configuration adds it, and its id."""
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
    reference = read_safetensors(folder / "reference.safetensors")
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
