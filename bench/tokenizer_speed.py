"""Speed of this project's tokenizer and of the `tokenizers` library on the same text, one thread.

Usage: tokenizer_speed.py TEXT_BENCH SHARED
Rates are by processor time. The library gets its fastest call: encode_batch_fast where only ids
are wanted.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tokenizers  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "consistency"))
from tokenizer_variants import existing, variants  # noqa: E402

FAMILIES = {
    "gpt2": "GPT-2",
    "gpt-neox-20b": "GPT-NeoX",
    "llama": "Llama-2/Mistral",
    "metaspace-first-False": "Llama-2, re-saved",
    "llama3-style": "Llama-3",
    "qwen2-style": "Qwen2",
}
DOCUMENT_BYTES = 4096
ROUNDS = 3


def all_text(shared):
    """All texts of shared/data: about 10 MB of prose, encyclopedia and tasks."""
    files = sorted((shared / "data").glob("*.txt")) + sorted((shared / "data").glob("*.jsonl"))
    return "".join(path.read_text(encoding="utf-8") for path in files)


def cut_documents(text):
    data, documents, begin = text.encode("utf-8"), [], 0
    while begin < len(data):
        line = data.find(b"\n", begin + DOCUMENT_BYTES)
        end = len(data) if line < 0 else line + 1
        documents.append(data[begin:end].decode("utf-8"))
        begin = end
    return documents


def seconds(job):
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return statistics.median(times)


def theirs(spec, documents, megabytes):
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(spec))
    jobs = {
        "documents": lambda: tokenizer.encode_batch_fast(documents, add_special_tokens=False),
        "documents_offsets": lambda: tokenizer.encode_batch(documents, add_special_tokens=False),
    }
    return {name: megabytes / seconds(job) for name, job in jobs.items()}


def ours(program, spec, text):
    with tempfile.TemporaryDirectory() as folder:
        files = {"TOKENIZER": json.dumps(spec), "TEXT": text}
        environment = dict(os.environ)
        for name, content in files.items():
            path = Path(folder) / name
            path.write_text(content, encoding="utf-8", newline="")
            environment[f"AQUATINT_BENCH_{name}"] = str(path)
        arguments = ["--benchmark_format=json", "--benchmark_filter=/documents"]
        arguments += [f"--benchmark_repetitions={ROUNDS}"]
        done = subprocess.run(
            [program, *arguments], env=environment, capture_output=True, check=True
        )
    rates = {}
    for row in json.loads(done.stdout)["benchmarks"]:
        if row.get("aggregate_name") == "median":
            rates[row["run_name"].split("/")[1]] = row["MB/s"]
    return rates


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    program, shared = sys.argv[1], Path(sys.argv[2])
    text = all_text(shared)
    documents = cut_documents(text)
    megabytes = len(text.encode("utf-8")) / 1e6
    specs = {**existing(shared), **dict(variants(shared))}
    print(f"{megabytes:.1f} MB in {len(documents)} documents, one thread,"
          f" tokenizers {tokenizers.__version__}, medians of {ROUNDS}; MB/s")
    print(f"{'':20}{'ids':>30}{'ids and offsets':>34}")
    print(f"{'family':20}" + f"{'ours':>10}{'theirs':>10}{'ratio':>10}    " * 2)
    for name, family in FAMILIES.items():
        mine, other = ours(program, specs[name], text), theirs(specs[name], documents, megabytes)
        row = "".join(
            f"{mine[job]:10.1f}{other[job]:10.2f}{mine[job] / other[job]:9.1f}x    "
            for job in ("documents", "documents_offsets")
        )
        print(f"{family:20}{row}", flush=True)


if __name__ == "__main__":
    main()
