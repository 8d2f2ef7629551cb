"""Kills `aquatint quantize` at 50 moments spread over a whole run and runs it again to the end.

Every time the output must be that of an uninterrupted run, byte for byte, and nothing may stand
under the final name before it is complete. Usage: kill_resume.py PROGRAM [MOMENTS [SEED]]
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = {
    "model_type": "gla",
    "architectures": ["GLAForCausalLM"],
    "hidden_size": 192,
    "num_hidden_layers": 40,
    "num_heads": 2,
    "vocab_size": 1000,
    "hidden_act": "swish",
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
RECIPE = """\
weights: {bits: 4, group_size: 32, symmetric: false}
head: {weights: {bits: 8}}
overrides:
  - {match: role:mlp_out, weights: {bits: 8}, activations: {bits: 8}}
"""


def digests(folder):
    """SHA-256 of every file below the folder, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Quantizer:
    def __init__(self, program, folder):
        self.program = program
        self.folder = folder
        self.model = folder / "model"
        self.out = folder / "out"
        (folder / "config.json").write_text(json.dumps(CONFIG))
        (folder / "recipe.yaml").write_text(RECIPE)
        synth = [program, "synth", "--arch", "gla", "--config", folder / "config.json"]
        subprocess.run([*synth, "--out", self.model], check=True, stdout=subprocess.DEVNULL)

    def start(self, *options):
        command = [self.program, "quantize", self.model, "--recipe", self.folder / "recipe.yaml"]
        command += ["--out", self.out, "--max-shard-size", "1", "--threads", "1", *options]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish(self, *options):
        """Runs to the end; returns seconds."""
        begin = time.monotonic()
        process = self.start(*options)
        _, errors = process.communicate()
        if process.returncode != 0:
            sys.exit(f"exit code {process.returncode}: {errors.decode(errors='replace')}")
        return time.monotonic() - begin

    def kill_after(self, seconds, *options):
        """True when the run was killed, False when it had ended by itself."""
        process = self.start(*options)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL

    def clear(self):
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.rmtree(str(self.out) + ".partial", ignore_errors=True)


def journal_lines(quantizer):
    for folder in (Path(str(quantizer.out) + ".partial"), quantizer.out):
        journal = folder / "journal.jsonl"
        if journal.exists():
            return journal.read_bytes().count(b"\n")
    return 0


def check_same(found, expected, what):
    if found != expected:
        names = sorted(
            name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
        )
        sys.exit(f"{what}: files differ from the uninterrupted run's: {', '.join(names)}")


def main():
    program = str(Path(sys.argv[1]).resolve())
    moments = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    chance = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    with tempfile.TemporaryDirectory(prefix="aquatint-kill-") as name:
        quantizer = Quantizer(program, Path(name))
        expected, seconds = None, []
        for _ in range(3):
            quantizer.clear()
            seconds.append(quantizer.finish())
            expected = digests(quantizer.out)
        whole = sorted(seconds)[1]
        print(f"uninterrupted: {whole:.2f} s, {len(expected)} files")

        killed, stages = 0, []
        for moment in range(moments):
            quantizer.clear()
            overwrite = moment % 5 == 4  # every fifth replaces an older output
            options = ["--overwrite"] if overwrite else []
            if overwrite:
                quantizer.out.mkdir()
                (quantizer.out / "config.json").write_text("{}")
            # One part of the run each, at a random point of it; half of them twice.
            for _ in range(1 + moment % 2):
                at = whole * (moment + chance.random()) / moments
                killed += quantizer.kill_after(at, *options)
                stages.append(journal_lines(quantizer))
                if quantizer.out.exists() and not overwrite:
                    left = digests(quantizer.out)
                    left.pop("journal.jsonl", None)
                    check_same(left, expected, f"after the kill at {at:.3f} s")
            if quantizer.out.exists() and not overwrite and stages[-1] == 0:
                continue  # it had ended before
            quantizer.finish(*options)
            check_same(digests(quantizer.out), expected, f"killed at {at:.3f} s and run again")
            if os.path.exists(str(quantizer.out) + ".partial"):
                sys.exit("the working folder was left behind")
        print(f"{moments} moments, {killed} kills, {len(set(stages))} different lengths of journal")
        if killed < moments // 2:
            sys.exit(f"only {killed} runs were killed before their end: nothing was tested")


if __name__ == "__main__":
    main()
