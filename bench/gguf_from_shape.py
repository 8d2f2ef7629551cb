"""Writes a model as a GGUF file in bfloat16, for llama.cpp to be measured on the same weights.

Usage: python bench/gguf_from_shape.py MODEL_OR_SHAPE OUT.gguf

A folder of Hugging Face's (config.json, safetensors) keeps its weights; a config.json alone, as in
bench/shapes, gets random ones. Architectures: llama, gpt2, mamba, mamba2; others are refused.
Matrices become BF16, everything else F32, in the forms that docs/formats/gguf.md tells. There is no
vocabulary, only its size, which is all that llama-bench and llama-quantize ask for. Tensors go
through memory one at a time. Needs numpy and PyPI's gguf.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import gguf
import numpy as np

RANDOM_BLOCK = 1 << 20  # values made at once
# What the state-space models' time steps are initialized to lie between.
TIME_STEP_MIN, TIME_STEP_MAX = 1e-3, 1e-1
TIED_BY_DEFAULT = {"gpt2": True, "mamba": True, "llama": False, "mamba2": False}


def to_float32(data):
    """bfloat16 (as uint16), float16 or float32 as float32."""
    if data.dtype == np.uint16:
        return (data.astype(np.uint32) << 16).view(np.float32)
    return data.astype(np.float32)


def to_bfloat16(data):
    """float32 or float16 as bfloat16 in uint16, rounded to nearest, ties to even."""
    if data.dtype == np.uint16:
        return data
    bits = np.ascontiguousarray(data, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class Folder:
    """The tensors of a folder's safetensors files, mapped."""

    DTYPES = {"BF16": np.uint16, "F16": np.float16, "F32": np.float32}

    def __init__(self, folder, prefix):
        index = folder / "model.safetensors.index.json"
        files = ["model.safetensors"]
        if index.exists():
            files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        self.tensors, self.prefix = {}, prefix
        for path in (folder / name for name in files):
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            for name, entry in header.items():
                self.tensors[name] = (path, 8 + length, entry)

    def has(self, name):
        return name in self.tensors

    def read(self, name, shape):
        # GPT-2's files come with and without the prefix.
        found = name if name in self.tensors else name.removeprefix(self.prefix)
        if found not in self.tensors:
            sys.exit(f"{name} is not in the model")
        path, start, entry = self.tensors[found]
        if tuple(entry["shape"]) != tuple(shape):
            sys.exit(f"{name} is {entry['shape']}, not {list(shape)} as the configuration has it")
        if entry["dtype"] not in self.DTYPES:
            sys.exit(f"{name} is {entry['dtype']}; only {', '.join(self.DTYPES)} are read")
        begin, end = entry["data_offsets"]
        data = np.memmap(path, np.uint8, "r", start + begin, (end - begin,))
        return data.view(self.DTYPES[entry["dtype"]]).reshape(shape)


class Random:
    """Random tensors of the sizes that keep a model's values in an ordinary range."""

    def __init__(self, config):
        self.random = np.random.default_rng(0)
        self.tied = config.get("tie_word_embeddings", TIED_BY_DEFAULT[config["model_type"]])

    def has(self, name):
        return name == "lm_head.weight" and not self.tied

    def read(self, name, shape):
        if name.endswith(("norm.weight", "norm_f.weight", "mixer.D")) or ".ln_" in name:
            return np.full(shape, 0.0 if name.endswith(".bias") else 1.0, np.float32)
        if name.endswith("A_log"):
            return np.log(np.broadcast_to(np.arange(1, shape[-1] + 1, dtype=np.float32), shape))
        if name.endswith(("dt_proj.bias", "dt_bias")):
            span = (math.log(TIME_STEP_MIN), math.log(TIME_STEP_MAX))
            step = np.exp(self.random.uniform(*span, size=shape))
            return (step + np.log(-np.expm1(-step))).astype(np.float32)  # softplus gives step
        out = np.empty(math.prod(shape), np.uint16)
        for begin in range(0, out.size, RANDOM_BLOCK):
            block = out[begin : begin + RANDOM_BLOCK]
            values = self.random.standard_normal(block.size, dtype=np.float32)
            block[:] = to_bfloat16(values * np.float32(0.02))
        return out.reshape(shape)


@dataclass
class Row:
    """One tensor: its names and shape, and what its GGUF form is made by."""

    stored: str
    name: str
    shape: tuple
    stored_shape: tuple = None
    form: Callable = None

    def __post_init__(self):
        self.stored_shape = self.stored_shape or self.shape

    @property
    def is_matrix(self):
        """Whether llama.cpp multiplies by it or takes rows of it, and so may have it in BF16."""
        small = ("position_embd.weight", "ssm_conv1d.weight", "ssm_a", "ssm_d", "ssm_norm.weight")
        return len(self.stored_shape) == 2 and not self.stored.endswith(small)

    def data(self, source):
        """In the file's type and form; matrices that are bfloat16 already are not converted."""
        data = source.read(self.name, self.shape)
        if not self.is_matrix:
            data = to_float32(data)
        if self.form:
            data = self.form(data)
        data = to_bfloat16(data) if self.is_matrix else data
        return np.ascontiguousarray(data).reshape(self.stored_shape)


def rotary_rows(heads):
    """Rows j and j + d/2 of each head side by side."""

    def form(data):
        rows, columns = data.shape
        return data.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2)

    return form


def rope_factors(scaling, head_dim, theta):
    """What Llama 3's rule divides each frequency by."""
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    length, factor = scaling["original_max_position_embeddings"], scaling["factor"]
    factors = []
    for i in range(0, head_dim, 2):
        wave = 2 * math.pi * theta ** (i / head_dim)
        smooth = min(max((length / wave - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, np.float32)


def llama(config, writer):
    width, layers = config["hidden_size"], config["num_hidden_layers"]
    inner, heads = config["intermediate_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or width // heads
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = config.get("rope_theta") or rope.get("rope_theta") or 10000.0
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3") or config.get("attention_bias") or config.get("mlp_bias"):
        sys.exit(f"rope scaling {kind} and biases of Llama are not written")
    writer.add_context_length(config.get("max_position_embeddings", 2048))
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", 1e-6))
    rows = [Row("token_embd.weight", "model.embed_tokens.weight", (config["vocab_size"], width))]
    for i in range(layers):
        to, of, att = f"blk.{i}.", f"model.layers.{i}.", f"model.layers.{i}.self_attn."
        query, key = (heads * head, width), (kv_heads * head, width)
        rows += [
            Row(to + "attn_norm.weight", of + "input_layernorm.weight", (width,)),
            Row(to + "attn_q.weight", att + "q_proj.weight", query, form=rotary_rows(heads)),
            Row(to + "attn_k.weight", att + "k_proj.weight", key, form=rotary_rows(kv_heads)),
            Row(to + "attn_v.weight", att + "v_proj.weight", key),
            Row(to + "attn_output.weight", att + "o_proj.weight", query[::-1]),
            Row(to + "ffn_norm.weight", of + "post_attention_layernorm.weight", (width,)),
            Row(to + "ffn_gate.weight", of + "mlp.gate_proj.weight", (inner, width)),
            Row(to + "ffn_up.weight", of + "mlp.up_proj.weight", (inner, width)),
            Row(to + "ffn_down.weight", of + "mlp.down_proj.weight", (width, inner)),
        ]
    rows.append(Row("output_norm.weight", "model.norm.weight", (width,)))
    rope_rows = {}
    if kind == "llama3":
        rope_rows["rope_freqs.weight"] = rope_factors(rope, head, theta)
    return layers, rows, rope_rows


def gpt2(config, writer):
    width, layers = config["n_embd"], config["n_layer"]
    inner, positions = config.get("n_inner") or 4 * width, config["n_positions"]
    if config.get("scale_attn_by_inverse_layer_idx"):
        sys.exit("scale_attn_by_inverse_layer_idx is not written")
    writer.add_context_length(positions)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config.get("layer_norm_epsilon", 1e-5))
    rows = [
        Row("token_embd.weight", "transformer.wte.weight", (config["vocab_size"], width)),
        Row("position_embd.weight", "transformer.wpe.weight", (positions, width)),
    ]

    def linear(stored, name, inputs, outputs):
        # Files of Hugging Face's hold these as [inputs, outputs].
        return [
            Row(
                stored + ".weight",
                name + ".weight",
                (inputs, outputs),
                (outputs, inputs),
                np.transpose,
            ),
            Row(stored + ".bias", name + ".bias", (outputs,)),
        ]

    def norm(stored, name):
        return [Row(f"{stored}.{part}", f"{name}.{part}", (width,)) for part in ("weight", "bias")]

    for i in range(layers):
        to, of = f"blk.{i}.", f"transformer.h.{i}."
        rows += norm(to + "attn_norm", of + "ln_1") + norm(to + "ffn_norm", of + "ln_2")
        rows += linear(to + "attn_qkv", of + "attn.c_attn", width, 3 * width)
        rows += linear(to + "attn_output", of + "attn.c_proj", width, width)
        rows += linear(to + "ffn_up", of + "mlp.c_fc", width, inner)
        rows += linear(to + "ffn_down", of + "mlp.c_proj", inner, width)
    rows += norm("output_norm", "transformer.ln_f")
    return layers, rows, {}


def state_space(config, writer):
    """What Mamba and Mamba-2 share: sizes, and the rows outside of the mixers' projections."""
    width, layers = config["hidden_size"], config["num_hidden_layers"]
    kernel = config["conv_kernel"]
    inner = int(config["expand"] * width)
    if inner != 2 * width or config.get("use_bias") or not config.get("use_conv_bias", True):
        sys.exit("only expand 2, use_bias false and use_conv_bias true are written")
    writer.add_context_length(1 << 20)  # there is no limit
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(config["state_size"])
    writer.add_layer_norm_rms_eps(config.get("layer_norm_epsilon", 1e-5))
    rows = [
        Row("token_embd.weight", "backbone.embeddings.weight", (config["vocab_size"], width)),
        Row("output_norm.weight", "backbone.norm_f.weight", (width,)),
    ]
    for i in range(layers):
        to, of = f"blk.{i}.", f"backbone.layers.{i}."
        rows += [
            Row(to + "attn_norm.weight", of + "norm.weight", (width,)),
            Row(to + "ssm_out.weight", of + "mixer.out_proj.weight", (width, inner)),
        ]
    return width, layers, kernel, inner, rows


def decay(data):
    return -np.exp(data)


def convolution(stored, mixer, channels, kernel):
    return [
        Row(
            stored + "ssm_conv1d.weight",
            mixer + "conv1d.weight",
            (channels, 1, kernel),
            (channels, kernel),
        ),
        Row(stored + "ssm_conv1d.bias", mixer + "conv1d.bias", (channels,)),
    ]


def mamba(config, writer):
    width, layers, kernel, inner, rows = state_space(config, writer)
    state, rank = config["state_size"], config.get("time_step_rank", "auto")
    rank = -(-width // 16) if rank == "auto" else rank
    writer.add_ssm_time_step_rank(rank)
    for i in range(layers):
        to, of = f"blk.{i}.", f"backbone.layers.{i}.mixer."
        rows += convolution(to, of, inner, kernel)
        rows += [
            Row(to + "ssm_in.weight", of + "in_proj.weight", (2 * inner, width)),
            Row(to + "ssm_x.weight", of + "x_proj.weight", (rank + 2 * state, inner)),
            Row(to + "ssm_dt.weight", of + "dt_proj.weight", (inner, rank)),
            Row(to + "ssm_dt.bias", of + "dt_proj.bias", (inner,)),
            Row(to + "ssm_a", of + "A_log", (inner, state), form=decay),
            Row(to + "ssm_d", of + "D", (inner,)),
        ]
    return layers, rows, {}


def mamba2(config, writer):
    width, layers, kernel, inner, rows = state_space(config, writer)
    state, groups, heads = config["state_size"], config["n_groups"], config["num_heads"]
    writer.add_ssm_time_step_rank(heads)
    writer.add_ssm_group_count(groups)
    channels = inner + 2 * groups * state
    for i in range(layers):
        to, of = f"blk.{i}.", f"backbone.layers.{i}.mixer."
        rows += convolution(to, of, channels, kernel)
        rows += [
            Row(to + "ssm_in.weight", of + "in_proj.weight", (inner + channels + heads, width)),
            Row(to + "ssm_dt.bias", of + "dt_bias", (heads,)),
            Row(to + "ssm_a", of + "A_log", (heads,), (heads, 1), decay),
            Row(to + "ssm_d", of + "D", (heads,), (heads, 1)),
            Row(to + "ssm_norm.weight", of + "norm.weight", (inner,), (groups, inner // groups)),
        ]
    return layers, rows, {}


ARCHITECTURES = {"llama": llama, "gpt2": gpt2, "mamba": mamba, "mamba2": mamba2}


def convert(source, out):
    path = Path(source)
    config = json.loads((path / "config.json" if path.is_dir() else path).read_text())
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        sys.exit(f"{source} is a {kind} model; only {', '.join(ARCHITECTURES)} are written")
    tensors = Folder(path, "transformer.") if path.is_dir() else Random(config)

    writer = gguf.GGUFWriter(out, kind)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config["vocab_size"])
    layers, rows, constants = ARCHITECTURES[kind](config, writer)
    writer.add_block_count(layers)
    if tensors.has("lm_head.weight"):
        rows.append(Row("output.weight", "lm_head.weight", rows[0].shape))
    types = gguf.GGMLQuantizationType
    for name, data in constants.items():
        writer.add_tensor_info(name, data.shape, data.dtype, data.nbytes, types.F32)
    for row in rows:
        dtype, type_ = (np.uint16, types.BF16) if row.is_matrix else (np.float32, types.F32)
        bytes_ = math.prod(row.stored_shape) * np.dtype(dtype).itemsize
        writer.add_tensor_info(row.stored, row.stored_shape, np.dtype(dtype), bytes_, type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for data in constants.values():
        writer.write_tensor_data(data)
    for row in rows:
        writer.write_tensor_data(row.data(tensors))
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", metavar="MODEL_OR_SHAPE")
    parser.add_argument("out", metavar="OUT.gguf")
    arguments = parser.parse_args()
    convert(arguments.source, arguments.out)


if __name__ == "__main__":
    main()
