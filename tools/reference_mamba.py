#!/usr/bin/env python3
"""Mamba and Mamba-2 in NumPy and float64, from their definitions: what the C++ must give.

Reads a folder with config.json of Hugging Face's or of the original's kind (state-spaces/mamba) and
model.safetensors, steps through tokens with the recurrence, and compares logits with the folder's
reference.safetensors or expected.safetensors.
"""

import argparse
import json
import math
import pathlib

import numpy as np
from reference_gla import causal_convolution, read_safetensors, rms_norm, silu


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def number(value):
    """A number of a configuration, where infinity has several spellings."""
    return float(value["__float__"]) if isinstance(value, dict) else float(value)


class Shape:
    """The sizes and choices of a configuration of either kind, under Hugging Face's names."""

    def __init__(self, config):
        self.original = "hidden_size" not in config
        if self.original:
            self.read_original(config)
        else:
            self.read_hugging_face(config)

    def read_original(self, config):
        mixer = config["ssm_cfg"]
        self.second = mixer.get("layer", "Mamba1") == "Mamba2"
        self.hidden, self.blocks = config["d_model"], config["n_layer"]
        multiple = config.get("pad_vocab_size_multiple", 8)
        self.vocab = -(-config["vocab_size"] // multiple) * multiple
        self.states = mixer.get("d_state", 128 if self.second else 16)
        self.conv = mixer.get("d_conv", 4)
        self.inner = int(mixer.get("expand", 2) * self.hidden)
        self.bias, self.conv_bias = mixer.get("bias", False), mixer.get("conv_bias", True)
        self.eps, self.tied = 1e-5, config.get("tie_embeddings", True)
        self.rank = mixer.get("dt_rank", "auto")
        self.channels = mixer.get("d_ssm") or self.inner
        self.head_dim = mixer.get("headdim", 64)
        self.heads = self.channels // self.head_dim
        self.groups = mixer.get("ngroups", 1)
        self.limits = [number(v) for v in mixer.get("dt_limit", [0, math.inf])]
        self.norm = mixer.get("rmsnorm", True)
        self.norm_first = mixer.get("norm_before_gate", False)
        self.skip_per_channel = mixer.get("D_has_hdim", False)
        self.norm_size = mixer.get("norm_group_size", self.channels // self.groups)
        self.finish()

    def read_hugging_face(self, config):
        self.second = config["model_type"] == "mamba2"
        self.hidden, self.blocks = config["hidden_size"], config["num_hidden_layers"]
        self.vocab = config["vocab_size"]
        self.states, self.conv = config["state_size"], config.get("conv_kernel", 4)
        self.inner = int(config.get("expand", 2) * self.hidden)
        self.bias, self.conv_bias = config.get("use_bias", False), config.get("use_conv_bias", True)
        self.eps = config.get("layer_norm_epsilon", 1e-5)
        self.tied = config.get("tie_word_embeddings", not self.second)
        self.rank = config.get("time_step_rank", "auto")
        self.channels = self.inner
        self.heads, self.head_dim = config.get("num_heads", 1), config.get("head_dim", 1)
        self.groups = config.get("n_groups", 1)
        self.limits = [number(v) for v in config.get("time_step_limit", [0, math.inf])]
        self.norm, self.norm_first = True, False
        self.skip_per_channel = config.get("D_has_hdim", False)
        self.norm_size = config.get("norm_group_size", self.channels // self.groups)
        self.finish()

    def finish(self):
        if self.rank == "auto":
            self.rank = -(-self.hidden // 16)
        self.mlp = self.inner - self.channels
        self.conv_channels = self.channels + 2 * self.groups * self.states
        self.projected = 2 * self.mlp + self.channels + self.conv_channels + self.heads
        self.embedding = "backbone.embedding" if self.original else "backbone.embeddings"


class StateSpaceModel:
    """Forward pass of a checkpoint, every variant its configuration can ask for."""

    def __init__(self, config, weights):
        self.shape, self.weights = Shape(config), weights

    def logits(self, ids):
        """ids: [batch, tokens]; returns [batch, tokens, vocabulary]."""
        w, s = self.weights, self.shape
        hidden = w[s.embedding + ".weight"][ids]
        mixer = self.second_mixer if s.second else self.first_mixer
        for i in range(s.blocks):
            prefix = f"backbone.layers.{i}."
            x = rms_norm(hidden, w[prefix + "norm.weight"], s.eps)
            hidden = hidden + mixer(x, prefix + "mixer.")
        head = w.get("lm_head.weight", w[s.embedding + ".weight"])
        return rms_norm(hidden, w["backbone.norm_f.weight"], s.eps) @ head.T

    def linear(self, x, name):
        y = x @ self.weights[name + ".weight"].T
        return y + self.weights[name + ".bias"] if name + ".bias" in self.weights else y

    def convolve(self, x, prefix):
        y = causal_convolution(x, self.weights[prefix + "conv1d.weight"])
        return silu(y + self.weights.get(prefix + "conv1d.bias", 0.0))

    def first_mixer(self, u, prefix):
        w, s = self.weights, self.shape
        x, z = np.split(self.linear(u, prefix + "in_proj"), 2, axis=-1)
        x = self.convolve(x, prefix)
        dt, b, c = np.split(
            self.linear(x, prefix + "x_proj"), [s.rank, s.rank + s.states], axis=-1
        )
        delta = softplus(self.linear(dt, prefix + "dt_proj"))
        a = -np.exp(w[prefix + "A_log"])
        state = np.zeros((u.shape[0], s.inner, s.states))
        y = np.empty_like(x)
        for t in range(u.shape[1]):
            step = delta[:, t, :, None]
            state = np.exp(step * a) * state + step * b[:, t, None, :] * x[:, t, :, None]
            y[:, t] = np.einsum("bcn,bn->bc", state, c[:, t])
        y = (y + w[prefix + "D"] * x) * silu(z)
        return self.linear(y, prefix + "out_proj")

    def second_mixer(self, u, prefix):
        w, s = self.weights, self.shape
        batch, tokens, _ = u.shape
        widths = [s.mlp, s.mlp, s.channels, s.conv_channels, s.heads]
        z0, x0, z, xbc, dt = np.split(
            self.linear(u, prefix + "in_proj"), np.cumsum(widths)[:-1], axis=-1
        )
        xbc = self.convolve(xbc, prefix)
        width = s.groups * s.states
        x, b, c = np.split(xbc, [s.channels, s.channels + width], axis=-1)
        x = x.reshape(batch, tokens, s.heads, s.head_dim)
        b, c = (
            np.repeat(v.reshape(batch, tokens, s.groups, s.states), s.heads // s.groups, axis=2)
            for v in (b, c)
        )
        delta = np.clip(softplus(dt + w[prefix + "dt_bias"]), *s.limits)
        decay = np.exp(-np.exp(w[prefix + "A_log"]) * delta)
        state = np.zeros((batch, s.heads, s.head_dim, s.states))
        y = np.empty_like(x)
        for t in range(tokens):
            add = delta[:, t, :, None, None] * x[:, t, :, :, None] * b[:, t, :, None, :]
            state = decay[:, t, :, None, None] * state + add
            y[:, t] = np.einsum("bhpn,bhn->bhp", state, c[:, t])
        y = y + w[prefix + "D"].reshape(s.heads, -1) * x
        y = self.gated_norm(y.reshape(batch, tokens, -1), z, prefix)
        if s.mlp:
            y = np.concatenate([silu(z0) * x0, y], axis=-1)
        return self.linear(y, prefix + "out_proj")

    def gated_norm(self, y, z, prefix):
        s = self.shape
        if not s.norm:
            return y * silu(z)
        y = y if s.norm_first else y * silu(z)
        y = rms_norm(y.reshape(*y.shape[:-1], -1, s.norm_size), None, s.eps).reshape(y.shape)
        y = y * self.weights[prefix + "norm.weight"]
        return y * silu(z) if s.norm_first else y


# Outputs of one mixer of each kind on three tokens, worked out apart from this program.
GOLDEN = {
    "mamba": [
        [3.020248835, -3.391378953],
        [21.560183751, -25.397902317],
        [-56.195297376, 61.431338562],
    ],
    "mamba2": [
        [1.628047858, -2.723514097],
        [0.954660491, -2.044465428],
        [-0.954187729, 1.874787462],
    ],
}


def self_test():
    """Mixers with weights s * sin(a * i + b), and their known outputs."""

    def matrix(rows, columns, a, b):
        return np.sin(a * np.arange(rows * columns) + b).reshape(rows, columns)

    def vector(size, a, b):
        return matrix(1, size, a, b)[0]

    config = {"hidden_size": 2, "num_hidden_layers": 0, "vocab_size": 1, "state_size": 2}
    config |= {"conv_kernel": 3, "time_step_rank": 2}
    first = {
        "in_proj.weight": matrix(8, 2, 0.31, 0.1),
        "conv1d.weight": matrix(4, 3, 0.37, 0.2).reshape(4, 1, 3),
        "conv1d.bias": vector(4, 0.41, 0.3),
        "x_proj.weight": matrix(6, 4, 0.43, 0.4),
        "dt_proj.weight": matrix(4, 2, 0.47, 0.5),
        "dt_proj.bias": vector(4, 0.53, 0.6),
        "A_log": matrix(4, 2, 0.59, 0.7),
        "D": vector(4, 0.61, 0.8),
        "out_proj.weight": matrix(2, 4, 0.67, 0.9),
    }
    second = {
        "in_proj.weight": matrix(14, 2, 0.31, 0.1),
        "conv1d.weight": matrix(8, 3, 0.37, 0.2).reshape(8, 1, 3),
        "conv1d.bias": vector(8, 0.41, 0.3),
        "dt_bias": vector(2, 0.53, 0.6),
        "A_log": vector(2, 0.59, 0.7),
        "D": vector(2, 0.61, 0.8),
        "norm.weight": np.array([1.0, 1.1, 1.2, 1.3]),
        "out_proj.weight": matrix(2, 4, 0.67, 0.9),
    }
    x = matrix(3, 2, 0.7, 0.3)[None]
    one = StateSpaceModel(config | {"model_type": "mamba"}, first)
    two = StateSpaceModel(
        config | {"model_type": "mamba2", "num_heads": 2, "head_dim": 2}, second
    )
    outputs = {"mamba": one.first_mixer(x, "")[0], "mamba2": two.second_mixer(x, "")[0]}
    for name, expected in GOLDEN.items():
        difference = np.abs(outputs[name] - np.array(expected)).max()
        if not difference < 1e-8:
            raise SystemExit(
                f"self-test: the {name} mixer differs from its known outputs by {difference:.3g}"
            )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=pathlib.Path, nargs="+")
    arguments = parser.parse_args()
    self_test()
    for folder in arguments.model:
        config = json.loads((folder / "config.json").read_text())
        model = StateSpaceModel(config, read_safetensors(folder / "model.safetensors"))
        files = [folder / "reference.safetensors", folder / "expected.safetensors"]
        reference = read_safetensors(next(path for path in files if path.exists()))
        for name in sorted(n for n in reference if n.endswith("input_ids")):
            ids = reference[name].reshape(1, -1)
            expected = reference[name.replace("input_ids", "logits")].reshape(ids.size, -1)
            difference = np.abs(model.logits(ids)[0] - expected).max()
            print(f"{folder.name} {name}: {ids.size} tokens, largest difference {difference:.3g}")


if __name__ == "__main__":
    main()
