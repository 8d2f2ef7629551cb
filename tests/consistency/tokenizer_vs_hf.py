"""Compares this project's tokenizer with the `tokenizers` library: ids, offsets and decoded text.

Usage: tokenizer_vs_hf.py TOKENIZE_LINES SHARED [--megabytes M] [--fuzz N] [--only NAME]
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

from tokenizers import Tokenizer  # noqa: E402

from tokenizer_texts import STRESS, fuzzed, prose  # noqa: E402
from tokenizer_variants import existing, variants  # noqa: E402


class Reader:
    def __init__(self, data):
        self.data, self.pos = data, 0

    def number(self):
        return self.numbers(1)[0]

    def numbers(self, count):
        values = struct.unpack_from(f"<{count}I", self.data, self.pos)
        self.pos += 4 * count
        return values

    def ids(self):
        return list(self.numbers(self.number()))

    def text(self):
        size = self.number()
        self.pos += size
        return self.data[self.pos - size : self.pos].decode("utf-8")


def run_ours(program, spec, texts):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(json.dumps(spec), encoding="utf-8")
        encoded = [text.encode("utf-8") for text in texts]
        payload = b"".join(struct.pack("<I", len(data)) + data for data in encoded)
        done = subprocess.run([program, str(path)], input=payload, capture_output=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{program}: exit code {done.returncode}: {done.stderr.decode()}")
    return Reader(done.stdout)


def char_offsets(text, offsets):
    if text.isascii():
        return offsets
    index, chars = {0: 0}, 0
    at = 0
    for char in text:
        at += len(char.encode("utf-8"))
        chars += 1
        index[at] = chars
    return [(index.get(begin), index.get(end)) for begin, end in offsets]


def restyled_ids(reference):
    """Added tokens that this version of the library decodes to their normalized form (0.23 and
    later do), where we give their content as earlier ones and their vocabulary entry do."""
    tokens = reference.get_added_tokens_decoder()
    return {i for i, token in tokens.items() if reference.id_to_token(i) != token.content}


def compare(text, reader, expected, reference, restyled):
    """What differs first, in words, or None."""
    ids, tracked = reader.ids(), reader.ids()
    flat = reader.numbers(2 * len(tracked))
    offsets = char_offsets(text, list(zip(flat[::2], flat[1::2])))
    decoded = reader.text(), reader.text()
    streamed = reader.number()
    if ids != expected.ids:
        return "ids", ids[:60], expected.ids[:60]
    if tracked != ids:
        return "encode_with_offsets and encode", tracked[:60], ids[:60]
    if offsets != expected.offsets:
        return "offsets", offsets[:60], expected.offsets[:60]
    if not streamed:
        return "streaming decoder", None, None
    if restyled.isdisjoint(ids):
        for skip, ours in zip((False, True), decoded):
            theirs = reference.decode(ids, skip_special_tokens=skip)
            if ours != theirs:
                return "decoded text", ours[:300], theirs[:300]
    return None


def check(program, name, spec, texts):
    reference = Tokenizer.from_str(json.dumps(spec))
    expected = reference.encode_batch(texts)
    reader = run_ours(program, spec, texts)
    restyled = restyled_ids(reference)
    problems = []
    for text, result in zip(texts, expected):
        problem = compare(text, reader, result, reference, restyled)
        if problem:
            what, ours, theirs = problem
            problems.append(
                f"{name}: {what} of {text[:300]!r}\n  ours      {ours!r}\n  reference {theirs!r}"
            )
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("shared", type=Path)
    parser.add_argument("--megabytes", type=float, default=1.5, help="prose per existing tokenizer")
    parser.add_argument("--fuzz", type=int, default=4000, help="fuzzed strings per tokenizer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="name of one tokenizer")
    options = parser.parse_args()
    if not (options.shared / "models").is_dir():
        if os.environ.get("AQUATINT_REQUIRE_SHARED"):
            raise SystemExit(f"{options.shared} is not there, but AQUATINT_REQUIRE_SHARED is set")
        print(f"skipped: no {options.shared}")
        sys.exit(77)

    jobs = [(name, spec, options.megabytes) for name, spec in existing(options.shared).items()]
    jobs += [(name, spec, options.megabytes / 10) for name, spec in variants(options.shared)]
    failed = 0
    for number, (name, spec, megabytes) in enumerate(jobs):
        if options.only and name != options.only:
            continue
        texts = STRESS + fuzzed(options.fuzz, options.seed + number)
        texts += prose(options.shared, megabytes)
        start = time.time()
        problems = check(options.program, name, spec, texts)
        size = sum(len(text.encode("utf-8")) for text in texts)
        print(f"{name:24} {len(texts):6} texts {size / 1e6:6.2f} MB  {len(problems)} differences"
              f"  {time.time() - start:.1f} s", flush=True)
        for problem in problems[:3]:
            print(problem)
        failed += len(problems)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
