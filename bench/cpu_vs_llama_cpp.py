"""Measures a model with this project's program and with llama-bench, in turns, and prints the
record that bench/cpu_vs_llama_cpp.sh keeps. That script makes the models and calls this one.

What is compared: bfloat16 with BF16, W8A8 with Q8_0, W4A16 with Q4_0. llama.cpp's quantized files
have the head and the token table quantized too (Q8_0; Q6_K beside Q4_0), so the recipes should.

How: each round takes each measurement on one side and right after it on the other, and ratios are
taken within a round, so that a machine that becomes slower hits both. What is printed is the median
of the rounds, and the least and the greatest. A measurement is a process of its own that warms up
and then repeats, small models more often. Prefill is one prompt at the beginning of a text; decode
is 64 tokens at the beginning of a text. llama-bench itself decides on flash attention, on mapping
the file and on repacking weights. The long prompt is measured in one round only, and left out for
llama.cpp where it would be too long to wait for.

On both sides threads wait for each other without sleeping, so one more busy program makes decoding
up to ten times slower on two cores: the record says how much of a processor others used at most.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import gguf

SHORT, LONG, DECODE = 256, 2048, 64
LONG_SECONDS = 60  # the most that a long prompt of llama.cpp is waited for
REPEATED_BYTES, MOST_REPEATS = 2_000_000_000, 8  # repeats times bytes of bfloat16 weights
# Of design/goals.md: tokens per second, ours over theirs.
PREFILL_AIMS = {"mamba": 8.0, "mamba2": 6.0, "llama": 4.5}
DECODE_AIMS = {"w8a8": 1.4, "w4a16": 1.5}


def others_seconds():
    """Processor time of all programs but those that were started here; 0 where it isn't told."""
    try:
        ticks = sum(map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:4]))
    except OSError:
        return 0.0
    children = os.times()
    return ticks / os.sysconf("SC_CLK_TCK") - children.children_user - children.children_system


class PeerError(Exception):
    """llama-bench could not run the model; the message is its last words."""


@dataclass
class Pair:
    """A form of ours, by its folder, and the type of llama.cpp that it is compared with."""

    ours: str
    theirs: str


PAIRS = [Pair("bfloat16", "BF16"), Pair("w8a8", "Q8_0"), Pair("w4a16", "Q4_0")]


@dataclass
class Measurement:
    """One line of the record: (median, least, greatest) tokens per second of each round."""

    pair: Pair
    prompt: int  # 0: decode
    ours: list = field(default_factory=list)
    theirs: list = field(default_factory=list)
    remark: str = ""  # why there is nothing of theirs

    @property
    def name(self):
        return f"prefill {self.prompt}" if self.prompt else f"decode {DECODE}"

    def ratios(self):
        return [ours[0] / theirs[0] for ours, theirs in zip(self.ours, self.theirs)]


class Bench:
    """Runs both programs, and remembers what they said and how they were called."""

    def __init__(self, arguments):
        self.program, self.peer = arguments.program, arguments.peer
        self.models, self.threads = Path(arguments.models), str(arguments.threads)
        self.commands, self.our_result, self.their_result = {}, None, None
        self.other_load = 0.0  # the most processors that other programs used during a run
        self.bytes_per_step = {}  # of decoding, by the names of folders and types

    def config(self):
        return json.loads((self.models / "bfloat16" / "config.json").read_text())

    def file(self, pair):
        return self.models / f"{pair.theirs}.gguf"

    def run(self, title, command, shown=True):
        words = [Path(word).name if "/" in word else word for word in command]
        if shown:
            self.commands.setdefault(title, " ".join(words))
        before, start = others_seconds(), time.monotonic()
        run = subprocess.run(command, capture_output=True, text=True)
        load = (others_seconds() - before) / (time.monotonic() - start)
        self.other_load = max(self.other_load, load)
        return run

    def ours(self, pair, prompt, repeats, *more):
        command = [self.program, "bench", str(self.models / pair.ours)]
        command += ["--prompt-tokens", str(prompt or 1)]
        command += ["--generated-tokens", "1" if prompt else str(DECODE)]
        command += ["--repeats", str(repeats), "--threads", self.threads]
        command += ["--dtype", "bfloat16", "--device", "cpu", "--json", "-", "--quiet", *more]
        run = self.run("ours, prefill" if prompt else "ours, decode", command, not more)
        if run.returncode != 0:
            sys.exit(run.stderr)
        self.our_result = json.loads(run.stdout)
        rate = self.our_result[("prefill" if prompt else "decode") + "_tokens_per_second"]
        if not prompt:
            bytes_per_second = self.our_result["decode_bytes_per_second"]
            self.bytes_per_step[pair.ours] = bytes_per_second / rate["median"]
        return rate["median"], rate["min"], rate["max"]

    def theirs(self, pair, prompt, repeats, warm_up_prompt):
        """Warms up with the prompt itself, or instead measures a shorter one before it."""
        command = [self.peer, "-m", str(self.file(pair))]
        command += ["-p", f"{warm_up_prompt},{prompt}" if warm_up_prompt else str(prompt)]
        command += ["-n", "0" if prompt else str(DECODE), "-r", str(repeats)]
        command += ["-t", self.threads, "-ngl", "0", "-o", "json"]
        command += ["--no-warmup"] if warm_up_prompt else []
        title = "long prefill" if warm_up_prompt else "prefill" if prompt else "decode"
        run = self.run("llama.cpp, " + title, command)
        if run.returncode != 0:
            lines = [line for line in run.stderr.splitlines() if line.strip()]
            raise PeerError(lines[-1] if lines else f"exit code {run.returncode}")
        self.their_result = json.loads(run.stdout)[-1]
        rates = self.their_result["samples_ts"]
        return statistics.median(rates), min(rates), max(rates)

    def ceilings(self):
        self.ours(PAIRS[-1], 1, 1, "--ceilings")
        return self.our_result["ceilings"]


def measure(bench, measurement, repeats, warm_up_prompt=0):
    pair, prompt = measurement.pair, measurement.prompt
    measurement.ours.append(bench.ours(pair, prompt, repeats))
    if measurement.remark:
        return
    try:
        measurement.theirs.append(bench.theirs(pair, prompt, repeats, warm_up_prompt))
    except PeerError as error:
        measurement.remark = f"llama.cpp failed: {error}"


def measure_all(bench, rounds):
    """All measurements, in the order of the record."""
    config = bench.config()
    # A model that learned its positions has no more; one token is generated after the prompt.
    positions = config.get("n_positions") or LONG + 1
    long_prompt = LONG if LONG < positions else positions // SHORT * SHORT - SHORT
    short, decode, long = ([Measurement(p, n) for p in PAIRS] for n in (SHORT, 0, long_prompt))
    repeats = REPEATED_BYTES // bench.file(PAIRS[0]).stat().st_size
    repeats = max(1, min(MOST_REPEATS, repeats))
    for _ in range(rounds):
        for both in zip(short, decode):
            for measurement in both:
                measure(bench, measurement, repeats)
    for measurement, same in zip(long, short):
        measurement.remark = same.remark
        if same.theirs and long_prompt / same.theirs[-1][0] > LONG_SECONDS:
            seconds = long_prompt / same.theirs[-1][0]
            measurement.remark = f"llama.cpp left out: it would take {seconds:.0f} s"
        measure(bench, measurement, max(1, repeats // 4), SHORT)
    return long + short + decode


def aim_of(measurement, kind):
    if not measurement.prompt:
        return DECODE_AIMS.get(measurement.pair.ours)
    return PREFILL_AIMS.get(kind) if measurement.pair.ours == "w8a8" else None


def spread(rounds):
    if not rounds:
        return f"{'-':>8} {'':19}"
    middle = statistics.median(r[0] for r in rounds)
    span = f"({min(r[1] for r in rounds):.1f} - {max(r[2] for r in rounds):.1f})"
    return f"{middle:8.1f} {span:19}"


def line(measurement, kind):
    text = f"{measurement.name:12} {measurement.pair.ours:8} {spread(measurement.ours)} "
    text += f"{measurement.pair.theirs:4} {spread(measurement.theirs)}"
    ratios, aim = measurement.ratios(), aim_of(measurement, kind)
    if not ratios:
        return f"{text} {measurement.remark}"
    ratio = statistics.median(ratios)
    text += f" {ratio:5.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
    if aim:
        text += f"  {aim:.1f}: {'reached' if ratio >= aim else 'missed'}"
    return text


def bytes_read_per_step(path):
    """All tensors of a GGUF file but tables of which a step reads a row."""
    tensors = gguf.GGUFReader(path).tensors
    names = {tensor.name for tensor in tensors}
    tables = {"position_embd.weight"}
    if "output.weight" in names:
        tables.add("token_embd.weight")
    return sum(int(tensor.n_bytes) for tensor in tensors if tensor.name not in tables)


def decode_line(bench, measurement, read):
    """What a step of decoding reads on each side, and that as a share of the read bandwidth."""
    pair, parts = measurement.pair, []
    sides = [
        (pair.ours, bench.bytes_per_step[pair.ours], measurement.ours),
        (pair.theirs, bytes_read_per_step(bench.file(pair)), measurement.theirs),
    ]
    for name, size, rounds in sides:
        text = f"{name} {size / 1e9:.3f} GB"
        if rounds:
            rate = size * statistics.median(r[0] for r in rounds)
            text += f" at {rate / 1e9:.1f} GB/s ({100 * rate / read:.0f} %)"
        parts.append(text)
    return "a decoded token reads: " + "; ".join(parts)


def report(bench, arguments, measurements, ceilings):
    ours, theirs = bench.our_result, bench.their_result
    origin = "random" if arguments.source.endswith(".json") else "its own"
    recipes = " and ".join(arguments.recipes)
    print(f"model: {arguments.source}, {origin} weights, the same on both sides; {recipes}")
    print(f"processor: {ours['processor']}, {ours['isa']}; {ours['threads']} threads on both sides")
    if theirs:
        settings = ("n_batch", "n_ubatch", "type_k", "flash_attn", "load_mode", "repack")
        shown = ", ".join(f"{name} {theirs[name]}" for name in settings)
        print(f"llama.cpp: {theirs['build_commit']}{arguments.peer_version}; {shown} (-1: auto)")
    for title, command in bench.commands.items():
        print(f"$ {command}  # {title}")
    reads = " and ".join(f"{c['read_bytes_per_second'] / 1e9:.1f}" for c in ceilings)
    print(f"read bandwidth before and after: {reads} GB/s; 100 % below is their mean")
    products = " and ".join(f"{c['int8_ops'] / 1e9:.0f}" for c in ceilings)
    print(f"oneDNN's int8 products before and after: {products} GOP/s")
    print(f"other programs used at most {bench.other_load:.2f} processors during a measurement")
    print(f"\n{'tokens/s':21} {'ours':28} {'llama.cpp':33} {'ratio':19}  aim")
    kind = bench.config()["model_type"]
    for measurement in measurements:
        print(line(measurement, kind))
    read = statistics.mean(c["read_bytes_per_second"] for c in ceilings)
    for measurement in measurements:
        if not measurement.prompt:
            print(decode_line(bench, measurement, read))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for option in ("program", "peer", "source", "models"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--recipes", nargs=2, required=True, metavar=("W8A8", "W4A16"))
    parser.add_argument("--peer-version", default="")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    bench = Bench(arguments)
    before = bench.ceilings()
    measurements = measure_all(bench, arguments.rounds)
    report(bench, arguments, measurements, [before, bench.ceilings()])


if __name__ == "__main__":
    main()
