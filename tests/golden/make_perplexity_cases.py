#!/usr/bin/env python3
"""Writes perplexity_cases.json: losses of models/gla-demo by every protocol, from NumPy in float64.

The text is a part of assets/text/sample.txt and travels in the file. Divergence is that of the
model with its last norm halved, which halves all logits, from the model as it is. With --shared, a
few thousand tokens of WikiText-2 under gla-demo and gla are added.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "tests" / "golden"))

import make_wikitext_cases  # noqa: E402
import reference_gla  # noqa: E402

# Protocol, window, policy about the beginning-of-text token, most tokens.
CASES = [
    ("lm-eval", 128, "tokenizer", 0),
    ("lm-eval", 1024, "none", 700),
    ("gptq", 256, "tokenizer", 0),
    ("gptq", 100, "none", 1024),
    ("llama.cpp", 128, "tokenizer", 0),
    ("llama.cpp", 65, "none", 400),
]
CHARACTERS = 4000


def score(folder, model, documents, case):
    """Loss, counts and the windows of documents under one case."""
    protocol, window, bos, most = case
    add_bos = bos == "tokenizer"
    windows, tokens = [], 0
    for text in documents:
        ids, bos_id = reference_gla.encode(folder, text, add_bos)
        ids = ids[: most - tokens] if most else ids
        tokens += len(ids)
        windows += reference_gla.plan(ids, bos_id, protocol, window, add_bos)
    losses = reference_gla.losses(model, windows)
    names = ["protocol", "window", "bos", "max_tokens"]
    row = dict(zip(names, case)) | {"tokens": tokens, "windows": len(windows)}
    return row | {"scored": losses.size, "nll": losses.sum(), "sd": losses.std(ddof=1)}, windows


def divergence(model, windows):
    """Summary of the divergence of halved logits from the logits."""
    klds, same, changes = [], [], []
    for rows, targets in reference_gla.scored_logits(model, windows):
        reference = reference_gla.log_softmax(rows)
        halved = reference_gla.log_softmax(rows / 2)
        klds.append((np.exp(reference) * (reference - halved)).sum(axis=-1))
        same.append(reference.argmax(axis=-1) == halved.argmax(axis=-1))
        at = np.arange(len(targets)), targets
        changes.append(np.exp(halved[at]) - np.exp(reference[at]))
    klds, same, changes = map(np.concatenate, (klds, same, changes))
    return {
        "mean": klds.mean(),
        "median": np.median(klds),
        "p99": np.percentile(klds, 99),
        "max": klds.max(),
        "same_top": same.mean(),
        "mean_change": changes.mean(),
        "rms_change": np.sqrt((changes**2).mean()),
    }


def wikitext_texts(shared):
    """Texts of the three WikiText tasks, made here in Python."""
    raw = (shared / "data/wikitext2_raw_test.txt").read_bytes().decode()
    lines = (shared / "data/wikitext.jsonl").read_text(encoding="utf-8").splitlines()
    pages = [make_wikitext_cases.detokenize(json.loads(line)["page"]) for line in lines[:8]]
    rows = [line + "\n" if line.strip() else "" for line in raw.split("\n")[:-1]]
    return {
        "wikitext": pages,
        "wikitext2-gptq": ["\n\n".join(rows)[:60000]],
        "wikitext2-llama.cpp": [raw[:60000]],
    }


def shared_cases(shared):
    cases = {
        "wikitext": ("lm-eval", 1024, "tokenizer", 4000),
        "wikitext2-gptq": ("gptq", 1024, "tokenizer", 4096),
        "wikitext2-llama.cpp": ("llama.cpp", 512, "tokenizer", 4096),
    }
    rows = []
    for name in ["gla-demo", "gla"]:
        folder = shared / "models" / name
        model = reference_gla.Gla(folder)
        for task, texts in wikitext_texts(shared).items():
            row, _ = score(folder, model, texts, cases[task])
            rows.append({"model": name, "task": task} | row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=pathlib.Path)
    arguments = parser.parse_args()
    folder = ROOT / "assets/models/gla-demo"
    model = reference_gla.Gla(folder)
    text = (ROOT / "assets/text/sample.txt").read_text(encoding="utf-8")[:CHARACTERS]
    scored = [score(folder, model, [text], case) for case in CASES]
    golden = {
        "text": text,
        "cases": [row for row, _ in scored],
        "divergence": divergence(model, scored[0][1]) | scored[0][0],
        "shared": shared_cases(arguments.shared) if arguments.shared else [],
    }
    out = pathlib.Path(__file__).with_name("perplexity_cases.json")
    out.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
