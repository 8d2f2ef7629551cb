#!/usr/bin/env python3
"""Writes tests/golden/<family>/<variant>/: tiny checkpoints with random weights, one for each thing
a configuration can ask for, and the logits that they must give: Mamba and Mamba-2 here, the models
with attention in golden_attention.py.

Where transformers runs a variant, the logits are its own (plain PyTorch path, float32); with
--no-transformers they come, as those of all other variants do, from tools/reference_mamba.py, which
computes in float64 from the definition. The two are compared. What only the original code has, and
what transformers never had, is thus checked against the definition and not against that code:
narrower recurrences (d_ssm), the norm before the gate, no norm, skips per channel, a norm over the
whole width with several groups, the original's names. Models with attention need transformers.

  tools/make_golden.py [--no-transformers] [FAMILY…]
"""

import argparse
import json
import math
import pathlib
import shutil
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/golden")]

import golden_attention  # noqa: E402
import make_gla_variants  # noqa: E402
import reference_mamba  # noqa: E402

TOKENS = 70  # more than two blocks of the scan, or chunks of the chunked form
INFINITY = math.inf

MAMBA = {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 40}
MAMBA |= {"state_size": 16, "layer_norm_epsilon": 1e-5}
ORIGINAL = {"d_model": 32, "n_layer": 2, "vocab_size": 37, "ssm_cfg": {}}
ORIGINAL |= {"rms_norm": True, "residual_in_fp32": True, "fused_add_norm": True}
STALE = {"d_model": 2048, "n_layer": 3, "d_inner": 17, "ssm_cfg": {}}
STALE |= {"pad_vocab_size_multiple": 16, "time_step_min": 0.1, "time_step_scale": 3.0}
MAMBA2 = {"model_type": "mamba2", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 40}
MAMBA2 |= {"state_size": 16, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 16}
MAMBA2 |= {"layer_norm_epsilon": 1e-5, "time_step_limit": [0.0, INFINITY]}
ORIGINAL2 = ORIGINAL | {"pad_vocab_size_multiple": 16}


def original2(**mixer):
    return {"ssm_cfg": {"layer": "Mamba2", "d_state": 16, "headdim": 16, **mixer}}


# Family: variant: (base, changes, how it is written and made). `hf`: transformers runs it too.
FAMILIES = {
    "mamba": {
        "plain": (MAMBA, {}, {"hf": True}),
        "float32": (MAMBA, {}, {"hf": True, "dtype": "F32"}),
        "bias": (MAMBA, {"use_bias": True}, {"hf": True}),
        "no_conv_bias": (MAMBA, {"use_conv_bias": False, "conv_kernel": 3}, {"hf": True}),
        "rank_auto": (MAMBA, {"hidden_size": 40, "time_step_rank": "auto"}, {"hf": True}),
        "odd_sizes": (
            MAMBA,
            {
                "hidden_size": 20,
                "expand": 3,
                "state_size": 5,
                "conv_kernel": 2,
                "time_step_rank": 7,
            },
            {"hf": True},
        ),
        "wide_rank": (MAMBA, {"expand": 1, "time_step_rank": 24, "state_size": 24}, {"hf": True}),
        "long_conv": (MAMBA, {"conv_kernel": 8}, {"hf": True}),
        "one_tap": (MAMBA, {"conv_kernel": 1}, {"hf": True}),
        "untied_head": (
            MAMBA,
            {"tie_word_embeddings": False, "layer_norm_epsilon": 0.01},
            {"hf": True, "head": True},
        ),
        "stale_keys": (MAMBA, STALE, {"hf": True}),
        "steep_steps": (MAMBA, {}, {"steps": 3.0}),
        "original": (ORIGINAL, {}, {}),
        "original_as_hf": (MAMBA, {}, {"rename": "embedding."}),
        "original_odd": (
            ORIGINAL | {"model_type": "mamba", "tie_embeddings": False},
            {
                "pad_vocab_size_multiple": 16,
                "ssm_cfg": {"layer": "Mamba1", "d_state": 8, "d_conv": 3, "expand": 1.5}
                | {"dt_rank": 3, "bias": True, "conv_bias": False},
            },
            {"head": True},
        ),
    },
    "mamba2": {
        "plain": (MAMBA2, {}, {"hf": True}),
        "float16": (MAMBA2, {"num_hidden_layers": 1}, {"hf": True, "dtype": "F16"}),
        "bias": (MAMBA2, {"use_bias": True}, {"hf": True}),
        "no_conv_bias": (MAMBA2, {"use_conv_bias": False, "conv_kernel": 3}, {"hf": True}),
        "groups_2": (MAMBA2, {"n_groups": 2}, {"hf": True}),
        "groups_4": (MAMBA2, {"n_groups": 4, "state_size": 7}, {"hf": True, "seed": 2}),
        "full_width_norm": (MAMBA2, {"n_groups": 2, "norm_group_size": 64}, {}),
        "odd_sizes": (
            MAMBA2,
            {
                "hidden_size": 20,
                "expand": 1.5,
                "num_heads": 3,
                "head_dim": 10,
                "state_size": 11,
                "conv_kernel": 2,
            },
            {},
        ),
        "limits": (MAMBA2, {"time_step_limit": [0.05, 0.3]}, {"hf": True}),
        "limit_infinity_object": (
            MAMBA2,
            {"time_step_limit": [0.05, {"__float__": "Infinity"}]},
            {"hf": True},
        ),
        "limit_infinity_literal": (MAMBA2, {"time_step_limit": [0.05, INFINITY]}, {"hf": True}),
        "untied_head": (MAMBA2, {"tie_word_embeddings": False}, {"hf": True, "head": True}),
        "model_prefix": (MAMBA2, {}, {"prefix": "model."}),
        "norm_before_gate_ignored": (MAMBA2, {"norm_before_gate": True}, {"hf": True}),
        "steep_steps": (MAMBA2, {}, {"steps": 3.0, "seed": 3}),
        "original": (ORIGINAL2, original2(), {}),
        "original_limits": (ORIGINAL2, original2(dt_limit=[0.05, 0.3]), {}),
        "original_groups": (ORIGINAL2, original2(ngroups=2), {}),
        "original_full_width_norm": (ORIGINAL2, original2(ngroups=2, norm_group_size=64), {}),
        "original_skip_per_channel": (ORIGINAL2, original2(D_has_hdim=True), {}),
        "original_narrow": (ORIGINAL2, original2(d_ssm=32, ngroups=2), {}),
        "original_narrow_norm_first": (
            ORIGINAL2,
            original2(d_ssm=48, norm_before_gate=True, bias=True),
            {},
        ),
        "original_norm_first": (ORIGINAL2, original2(ngroups=2, norm_before_gate=True), {}),
        "original_no_norm": (ORIGINAL2, original2(rmsnorm=False), {}),
    },
}


class Weights(make_gla_variants.Weights):
    def projection(self, name, rows, columns, bias):
        self.matrix(name, rows, columns)
        if bias:
            self.vector(name + ".bias", rows, 0.0, 0.3)

    def conv(self, prefix, channels, taps, bias):
        self.matrix(prefix + "conv1d", channels, taps, 1.5)
        key = prefix + "conv1d.weight"
        self.tensors[key] = self.tensors[key].reshape(channels, 1, taps)
        if bias:
            self.vector(prefix + "conv1d.bias", channels, 0.0, 0.3)

    def decay(self, name, shape):
        self.tensors[name] = np.log(self.random.uniform(0.5, 16, shape))


def random_weights(s, options):
    w = Weights()
    w.random = np.random.default_rng(options.get("seed", 20240528))
    steps = options.get("steps", -2.0)
    w.matrix(s.embedding, s.vocab, s.hidden, 0.5 * np.sqrt(s.hidden))
    for i in range(s.blocks):
        prefix = f"backbone.layers.{i}."
        w.norm(prefix + "norm", s.hidden)
        prefix += "mixer."
        if s.second:
            w.projection(prefix + "in_proj", s.projected, s.hidden, s.bias)
            w.conv(prefix, s.conv_channels, s.conv, s.conv_bias)
            w.vector(prefix + "dt_bias", s.heads, steps, 1.5)
            w.decay(prefix + "A_log", s.heads)
            w.vector(prefix + "D", s.channels if s.skip_per_channel else s.heads, 1.0, 0.3)
            if s.norm:
                w.norm(prefix + "norm", s.channels)
        else:
            w.projection(prefix + "in_proj", 2 * s.inner, s.hidden, s.bias)
            w.conv(prefix, s.inner, s.conv, s.conv_bias)
            w.matrix(prefix + "x_proj", s.rank + 2 * s.states, s.inner)
            w.matrix(prefix + "dt_proj", s.inner, s.rank, 0.7)
            w.vector(prefix + "dt_proj.bias", s.inner, steps, 1.5)
            w.decay(prefix + "A_log", (s.inner, s.states))
            w.vector(prefix + "D", s.inner, 1.0, 0.3)
        w.projection(prefix + "out_proj", s.hidden, s.inner, s.bias)
    w.norm("backbone.norm_f", s.hidden)
    if options.get("head"):
        w.matrix("lm_head", s.vocab, s.hidden, 3.0)
    return w.tensors


def transformers_logits(folder, ids):
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model.eval()(torch.tensor(ids), use_cache=False).logits[0].numpy()


def write_expected(family, name, folder, ids, logits, note):
    expected = {"input_ids": (ids[0], "I32"), "logits": (logits, "F32")}
    make_gla_variants.write_safetensors(folder / "expected.safetensors", expected)
    size = sum(path.stat().st_size for path in folder.iterdir())
    span = f"logits from {logits.min():.2f} to {logits.max():.2f}"
    print(f"{family}/{name}: {size} bytes, {span} ({note})")
    return size


def make_attention(family, name):
    base, changes, options = golden_attention.FAMILIES[family][name]
    config = {**base, **changes}
    for key in [k for k, v in changes.items() if v is None and base.get(k) is not None]:
        del config[key]
    folder = ROOT / "tests/golden" / family / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    dtype = options.get("dtype", "BF16")
    stored = golden_attention.random_weights(config, options)
    make_gla_variants.write_safetensors(
        folder / "model.safetensors", {k: (v, dtype) for k, v in stored.items()}
    )
    tokens = golden_attention.TOKENS
    ids = np.random.default_rng(7).integers(0, config["vocab_size"], (1, tokens))
    logits = golden_attention.logits(family, config, options, folder, ids)
    return write_expected(family, name, folder, ids, logits, "transformers")


def make(family, name, use_transformers):
    if family in golden_attention.FAMILIES:
        return make_attention(family, name)
    base, changes, options = FAMILIES[family][name]
    config = {**base, **changes}
    if "hidden_size" in config:  # one default of the two models; say what is meant
        config.setdefault("tie_word_embeddings", True)
    shape = reference_mamba.Shape(config)
    folder = ROOT / "tests/golden" / family / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    dtype = options.get("dtype", "BF16")
    stored = random_weights(shape, options)
    if "rename" in options:
        stored = {k.replace("embeddings.", options["rename"]): v for k, v in stored.items()}
    stored = {options.get("prefix", "") + k: (v, dtype) for k, v in stored.items()}
    make_gla_variants.write_safetensors(folder / "model.safetensors", stored)

    weights = reference_mamba.read_safetensors(folder / "model.safetensors")
    weights = {k.removeprefix("model."): v for k, v in weights.items()}
    if "rename" in options:
        weights[shape.embedding + ".weight"] = weights["backbone.embedding.weight"]
    ids = np.random.default_rng(7).integers(0, shape.vocab, (1, TOKENS))
    logits = reference_mamba.StateSpaceModel(config, weights).logits(ids)[0]
    note = "definition"
    if options.get("hf") and use_transformers:
        theirs = transformers_logits(folder, ids)
        difference = np.abs(theirs - logits).max()
        if not difference < 5e-5:
            raise SystemExit(f"{family}/{name}: transformers differs by {difference:.3g}")
        logits, note = theirs, f"transformers, {difference:.1e} from the definition"
    return write_expected(family, name, folder, ids, logits, note)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    families = FAMILIES | golden_attention.FAMILIES
    parser.add_argument("family", nargs="*", choices=[*families, []], help="default: all")
    parser.add_argument("--no-transformers", action="store_true")
    arguments = parser.parse_args()
    reference_mamba.self_test()
    total = 0
    if arguments.no_transformers:
        families = FAMILIES
    for family in arguments.family or families:
        shutil.rmtree(ROOT / "tests/golden" / family, ignore_errors=True)
        for name in families[family]:
            total += make(family, name, not arguments.no_transformers)
    print(total, "bytes in all")


if __name__ == "__main__":
    main()
