"""Speed of flash-linear-attention's GLA model on one GPU, with random weights: what this project's
GPU backend is compared with. Prints one JSON object per line.

Usage: PYTHONPATH=FOLDER_WITH_FLA python bench/fla_baseline.py --shape bench/shapes/gla-1.3b.json

Three ways of decoding are measured, from what users call to what is kindest to the library:
  generate  model.generate, greedy; its prefill is subtracted
  loop      a plain loop of forward calls that passes the cache on
  graph     the forward call of one token, captured in a CUDA graph and replayed

The model is the library's own GLAForCausalLM. Where that cannot be used with the installed
transformers, its layers are put together here as that class does (`model` says which it was).
"""

import argparse
import functools
import json
import statistics
import sys
import time
import traceback
import types
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn as nn

WARMUPS = 3


@functools.cache
def fla_root():
    """The folder of the library's source; to be asked before anything of it is imported."""
    return Path(find_spec("fla").submodule_search_locations[0])


class LayerCache:
    """State of each layer, for the layers without the library's model class."""

    def __init__(self):
        self.states = []

    def __len__(self):
        return len(self.states)

    def __getitem__(self, layer):
        return self.states[layer]

    def update(self, layer_idx, offset=1, **state):
        if layer_idx == len(self.states):
            self.states.append(state)
        self.states[layer_idx].update(state)
        return self.states[layer_idx]


def import_without_models():
    """Imports the GLA layer and nothing that needs transformers."""
    for name in [name for name in sys.modules if name == "fla" or name.startswith("fla.")]:
        del sys.modules[name]
    # The package's own __init__ imports every model; a bare package in its place does not.
    for name in ("fla", "fla.layers", "fla.ops"):
        package = types.ModuleType(name)
        package.__path__ = [str(fla_root().parent.joinpath(*name.split(".")))]
        sys.modules[name] = package
    from fla.layers.gla import GatedLinearAttention
    from fla.modules import GatedMLP, RMSNorm

    return GatedLinearAttention, GatedMLP, RMSNorm


def layers_model(shape):
    """The model from its layers: the same modules in the same order as GLAForCausalLM's forward."""
    attention, mlp, norm = import_without_models()
    hidden, eps = shape["hidden_size"], shape["norm_eps"]

    class Block(nn.Module):
        def __init__(self, index):
            super().__init__()
            self.attn_norm = norm(hidden, eps=eps)
            self.attn = attention(
                mode="chunk", hidden_size=hidden, num_heads=shape["num_heads"],
                num_kv_heads=shape.get("num_kv_heads"), expand_k=shape["expand_k"],
                expand_v=shape["expand_v"], use_short_conv=shape.get("use_short_conv", False),
                use_output_gate=shape.get("use_output_gate", True), norm_eps=eps,
                fuse_norm=shape.get("fuse_norm", True), layer_idx=index,
            )  # fmt: skip
            self.mlp_norm = norm(hidden, eps=eps)
            self.mlp = mlp(
                hidden_size=hidden, hidden_ratio=shape.get("hidden_ratio"),
                intermediate_size=shape.get("intermediate_size"), hidden_act="swish",
            )  # fmt: skip

        def forward(self, x, cache):
            y, _, _ = self.attn(self.attn_norm(x), past_key_values=cache, use_cache=True)
            y, x = self.mlp_norm(y, x, True)
            return x + self.mlp(y)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embeddings = nn.Embedding(shape["vocab_size"], hidden)
            self.layers = nn.ModuleList(Block(i) for i in range(shape["num_hidden_layers"]))
            self.norm = norm(hidden, eps=eps)
            self.lm_head = nn.Linear(hidden, shape["vocab_size"], bias=False)

        def forward(self, ids, past_key_values=None):
            cache = LayerCache() if past_key_values is None else past_key_values
            x = self.embeddings(ids)
            for layer in self.layers:
                x = layer(x, cache)
            return self.lm_head(self.norm(x)[:, -1:]), cache

    return Model()


def library_model(shape):
    from fla.models.gla import GLAConfig, GLAForCausalLM

    fields = {k: v for k, v in shape.items() if k not in ("architectures", "model_type")}
    model = GLAForCausalLM(GLAConfig(**fields))
    # No end of text: every sequence gets all its tokens, and no step looks for the end.
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


class Subject:
    """One of the two models behind one call: forward(ids, cache) -> (last logits, cache)."""

    def __init__(self, shape, dtype, force_layers):
        self.kind = "GLAForCausalLM"
        fla_root()
        if not force_layers:
            try:
                with torch.device("cuda"):
                    model = library_model(shape)
                self.place(model, dtype)
                self.warm()
                return
            except Exception:  # noqa: BLE001: whatever it is, the layers may still work
                traceback.print_exc()
                print("the library's model class cannot be used; its layers are", file=sys.stderr)
        self.kind = "layers"
        with torch.device("cuda"):
            model = layers_model(shape)
        self.place(model, dtype)
        self.warm()

    def place(self, model, dtype):
        torch.manual_seed(0)
        self.model = model.to(device="cuda", dtype=dtype).eval()
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if "norm" in name:
                    parameter.fill_(1.0)
                else:
                    parameter.normal_(0.0, 0.02)
        self.vocabulary = self.model.lm_head.weight.shape[0]

    @torch.inference_mode()
    def warm(self):
        logits, cache = self.forward(self.ids(1, 128), None)
        logits, cache = self.forward(self.ids(1, 1), cache)
        if not torch.isfinite(logits).all():
            raise RuntimeError("the logits are not finite")

    def ids(self, batch, tokens):
        return torch.randint(0, self.vocabulary, (batch, tokens), device="cuda")

    def forward(self, ids, cache):
        if self.kind == "layers":
            return self.model(ids, cache)
        # The state is made in any case, since a prefill without one is of no use to a decoder.
        out = self.model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits, out.past_key_values


def seconds(job, repeats, warmups=WARMUPS):
    """Times of `job`, each from an idle GPU to an idle GPU."""
    for _ in range(warmups):
        job()
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        job()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times


def device_seconds(job, repeats):
    """The same by the GPU's clock: without the time until the first kernel starts."""
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        job()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return times


def prefill(subject, batch, tokens, repeats):
    ids = subject.ids(batch, tokens)
    return {
        "times": seconds(lambda: subject.forward(ids, None), repeats),
        "device_times": device_seconds(lambda: subject.forward(ids, None), repeats),
        "mode": "chunk" if tokens > 64 else "fused_recurrent",
    }


def decode_generate(subject, batch, prompt, tokens, repeats):
    if subject.kind == "layers":
        raise RuntimeError("generate needs the library's model class")
    ids = subject.ids(batch, prompt)

    def generate(count):
        out = subject.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, use_cache=True,
            min_new_tokens=count, max_new_tokens=count,
        )  # fmt: skip
        if out.shape[1] != prompt + count:
            raise RuntimeError(f"{out.shape[1] - prompt} tokens generated, not {count}")

    # The first token comes from the prefill; the difference is `tokens` steps of one token.
    base = statistics.median(seconds(lambda: generate(1), repeats))
    return {"times": [t - base for t in seconds(lambda: generate(tokens + 1), repeats, 1)]}


def decode_loop(subject, batch, prompt, tokens, repeats):
    ids = subject.ids(batch, prompt)
    times = []
    for repeat in range(repeats + 1):  # the first one warms up
        logits, cache = subject.forward(ids, None)
        token = logits[:, -1].argmax(-1, keepdim=True)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(tokens):
            logits, cache = subject.forward(token, cache)
            token = logits[:, -1].argmax(-1, keepdim=True)
        torch.cuda.synchronize()
        if repeat > 0:
            times.append(time.perf_counter() - start)
    return {"times": times}


def decode_graph(subject, batch, prompt, tokens, repeats):
    layers = len(subject.model.layers if subject.kind == "layers" else subject.model.model.layers)
    _, cache = subject.forward(subject.ids(batch, prompt), None)
    token = subject.ids(batch, 1)

    def step():
        """One token from `token` to `token`, with each layer's state staying where it is."""
        before = [cache[i]["recurrent_state"] for i in range(layers)]
        logits, _ = subject.forward(token, cache)
        for i in range(layers):
            before[i].copy_(cache[i]["recurrent_state"])
            cache[i]["recurrent_state"] = before[i]
        token.copy_(logits[:, -1].argmax(-1, keepdim=True))

    if any(cache[i].get("conv_state") is not None for i in range(layers)):
        raise RuntimeError("the state of short convolutions is not kept in place")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARMUPS):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay():
        for _ in range(tokens):
            graph.replay()

    return {"times": seconds(replay, repeats, 1)}


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        module = sys.modules.get(package)
        return getattr(module, "__version__", None)


def fla_version():
    """By the source: the copy that is used need not be installed."""
    for line in (fla_root() / "__init__.py").read_text(encoding="utf-8").splitlines():
        if line.startswith("__version__"):
            return line.split("=")[1].strip().strip("\"'")
    return None


class Report:
    def __init__(self, args, subject):
        self.common = {
            "shape": args.shape.stem,
            "model": subject.kind,
            "dtype": args.dtype,
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "triton": version("triton"),
            "transformers": version("transformers"),
            "fla": fla_version(),
        }

    def add(self, what, job, count, **details):
        """Runs and prints one measurement; one that fails leaves the others alone."""
        line = {"what": what, **details}
        torch.cuda.reset_peak_memory_stats()
        try:
            result = job()
            times = result.pop("times")
            line["tokens_per_s"] = round(count / statistics.median(times), 1)
            line["slowest"] = round(count / max(times), 1)
            line["fastest"] = round(count / min(times), 1)
            line["ms"] = round(statistics.median(times) * 1e3, 3)
            device = result.pop("device_times", None)
            if device is not None:
                line["device_ms"] = round(statistics.median(device) * 1e3, 3)
            line.update(result)
            line["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            line["error"] = f"{type(error).__name__}: {error}"
        torch.cuda.empty_cache()
        print(json.dumps({**line, **self.common}), flush=True)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=Path, required=True, help="config.json of a GLA model")
    parser.add_argument("--prefill", default="1x2048,8x2048", help="BATCHxTOKENS,…")
    parser.add_argument("--decode", default="1,32", help="batch sizes")
    parser.add_argument("--ways", default="generate,loop,graph", help="of decoding")
    parser.add_argument("--prompt", type=int, default=128, help="tokens before decoding")
    parser.add_argument("--tokens", type=int, default=64, help="tokens to decode")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--layers", action="store_true", help="not by the library's model class")
    return parser.parse_args()


@torch.inference_mode()
def measure(args, subject):
    report = Report(args, subject)
    for size in filter(None, args.prefill.split(",")):
        batch, tokens = map(int, size.split("x"))
        report.add(
            "prefill",
            lambda b=batch, t=tokens: prefill(subject, b, t, args.repeats),
            batch * tokens, batch=batch, tokens=tokens,
        )  # fmt: skip
    ways = {"generate": decode_generate, "loop": decode_loop, "graph": decode_graph}
    # Graphs last: a capture that fails may leave a mark.
    for way in args.ways.split(","):
        for batch in map(int, filter(None, args.decode.split(","))):
            report.add(
                f"decode-{way}",
                lambda b=batch, w=way: ways[w](subject, b, args.prompt, args.tokens, args.repeats),
                batch * args.tokens, batch=batch, tokens=args.tokens, prompt=args.prompt,
                mode="fused_recurrent",
            )  # fmt: skip


def main():
    args = arguments()
    shape = json.loads(args.shape.read_text(encoding="utf-8"))
    measure(args, Subject(shape, getattr(torch, args.dtype), args.layers))


if __name__ == "__main__":
    main()
