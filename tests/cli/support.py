"""What the tests of the program share: running it, and a folder to work in.

AQUATINT_PROGRAM names the program. Tests that need ../shared are skipped without it, and fail
instead when AQUATINT_REQUIRE_SHARED is set.
"""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("AQUATINT_PROGRAM", ROOT / "build/release/aquatint")).resolve()
MODEL = ROOT / "assets/models/gla-demo"
TEXT = ROOT / "assets/text/sample.txt"
SHARED = ROOT.parent / "shared"
VERBS = [
    "quantize", "eval", "compare", "sensitivity", "run", "inspect", "bench", "pull", "export",
    "logits", "tokenize", "synth", "completion",
]  # fmt: skip
SECONDS = 300  # no single call may take longer, even under sanitizers


def aquatint(*arguments, **options):
    """Runs the program; returns the finished process with bytes on stdout and stderr."""
    command = [str(PROGRAM), *map(str, arguments)]
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("timeout", SECONDS)
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(command, stderr=subprocess.PIPE, check=False, **options)


def needs_shared(*parts):
    """The path below ../shared; skips or fails the test when it is not there."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        if os.environ.get("AQUATINT_REQUIRE_SHARED"):
            raise AssertionError(f"{path} is missing")
        raise unittest.SkipTest(f"{path} is missing")
    return path


class ProgramTest(unittest.TestCase):
    """A test with a working folder of its own, `self.folder`."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="aquatint-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def succeed(self, *arguments, **options):
        """Standard output of a call that must succeed, as text."""
        done = aquatint(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout.decode() if done.stdout is not None else ""

    def succeed_json(self, *arguments, **options):
        return json.loads(self.succeed(*arguments, "--json", "-", **options))

    def fail_with(self, code, words, *arguments, **options):
        """The one error line of a call that must fail with `code` and say all `words`."""
        done = aquatint(*arguments, "--quiet", **options)
        error = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, f"{arguments}: {error}")
        lines = error.splitlines()
        self.assertEqual(len(lines), 1, f"one line expected: {error}")
        self.assertTrue(lines[0].startswith("aquatint: error: "), error)
        self.assertNotIn("internal error", error)
        for word in [words] if isinstance(words, str) else words:
            self.assertIn(word, error)
        return lines[0]

    def model_copy(self, name="model", leave_out=()):
        """A copy of the default model that the test may damage."""
        copy = self.folder / name
        shutil.copytree(MODEL, copy, ignore=shutil.ignore_patterns(*leave_out))
        return copy

    def write(self, name, contents):
        path = self.folder / name
        data = contents.encode() if isinstance(contents, str) else contents
        path.write_bytes(data)
        return path

    def contents(self):
        """Names of everything in the working folder."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))


class QuantizedTest(ProgramTest):
    """Tests that use quantized copies of the model, made once."""

    @classmethod
    def setUpClass(cls):
        cls.made = tempfile.TemporaryDirectory(prefix="aquatint-cli-")
        for recipe in ("w8a8-dynamic", "w4a16"):
            done = aquatint(
                "quantize", MODEL, "--recipe", recipe, "--out", Path(cls.made.name) / recipe
            )
            if done.returncode != 0:
                raise AssertionError(done.stderr.decode())

    @classmethod
    def tearDownClass(cls):
        cls.made.cleanup()

    def quantized(self, recipe):
        return Path(self.made.name) / recipe
