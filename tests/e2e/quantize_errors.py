"""What goes wrong around `aquatint quantize`: one clear error each, the documented exit code,
nothing under the final name, and nothing lost. Usage: quantize_errors.py PROGRAM
"""

import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = ""
CONFIG = {
    "model_type": "gla",
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_heads": 2,
    "vocab_size": 500,
    "hidden_act": "swish",
    "tie_word_embeddings": False,
}


def limit_file_size():
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


class QuantizeErrors(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="aquatint-errors-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.model = self.folder / "model"
        self.out = self.folder / "out"
        self.partial = self.folder / "out.partial"
        (self.folder / "config.json").write_text(json.dumps(CONFIG))
        made = self.run_program(
            "synth", "--arch", "gla", "--config", self.folder / "config.json", "--out", self.model
        )
        self.assertEqual(made.returncode, 0, made.stderr)

    def run_program(self, *arguments, **options):
        return subprocess.run(
            [PROGRAM, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            **options,
        )

    def quantize(self, *arguments, model=None, out=None, recipe="w8a16", **options):
        model, out = model or self.model, out or self.out
        return self.run_program(
            "quantize", model, "--recipe", recipe, "--out", out, *arguments, **options
        )

    def expect_error(self, done, code, *words):
        """One line that begins as errors do and holds the words; the exit code."""
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        lines = [line for line in done.stderr.splitlines() if "error:" in line]
        self.assertEqual(len(lines), 1, done.stderr)
        for word in words:
            self.assertIn(word, lines[0])

    def test_existing_output_is_kept(self):
        self.out.mkdir()
        (self.out / "config.json").write_text("mine")
        self.expect_error(self.quantize(), 2, "'" + str(self.out), "exists")
        self.assertEqual((self.out / "config.json").read_text(), "mine")
        self.assertFalse(self.partial.exists())
        self.assertEqual(self.quantize("--overwrite").returncode, 0)
        self.assertNotEqual((self.out / "config.json").read_text(), "mine")

    def test_a_folder_that_is_no_model_is_never_overwritten(self):
        self.out.mkdir()
        (self.out / "thesis.tex").write_text("years of work")
        self.expect_error(self.quantize("--overwrite"), 2, "not a model folder")
        self.assertEqual((self.out / "thesis.tex").read_text(), "years of work")

    def test_output_is_the_input(self):
        before = (self.model / "model.safetensors").read_bytes()
        for out in (self.model, self.folder / "x" / ".." / "model", str(self.model) + "/"):
            self.expect_error(self.quantize("--overwrite", out=out), 2, "the model to be read")
        self.assertEqual((self.model / "model.safetensors").read_bytes(), before)

    def test_output_below_a_file(self):
        (self.folder / "file").write_text("x")
        done = self.quantize(out=self.folder / "file" / "out")
        self.expect_error(done, 6, "file/out", "is not a folder")

    @unittest.skipIf(os.geteuid() == 0, "root writes everywhere")
    def test_output_in_a_folder_without_permission(self):
        locked = self.folder / "locked"
        locked.mkdir(mode=0o500)
        self.expect_error(self.quantize(out=locked / "out"), 6, "Permission denied")

    def test_not_a_number(self):
        path = self.model / "model.safetensors"
        data = bytearray(path.read_bytes())
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        name = "model.layers.5.mlp.down_proj.weight"
        begin = 8 + size + header[name]["data_offsets"][0] + 1000
        data[begin : begin + 2] = b"\xc0\x7f"
        path.write_bytes(data)
        self.expect_error(self.quantize(), 9, name, "NaN")
        self.assertFalse(self.out.exists())
        self.assertFalse(self.partial.exists())

    def test_already_quantized(self):
        self.assertEqual(self.quantize().returncode, 0)
        done = self.quantize(model=self.out, out=self.folder / "again")
        self.expect_error(done, 5, "already quantized")
        self.assertFalse((self.folder / "again").exists())

    def test_file_too_large_for_the_limit_then_continued(self):
        done = self.quantize(preexec_fn=limit_file_size)
        self.expect_error(done, 6, "File too large")
        self.assertFalse(self.out.exists())
        done = self.quantize()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.out / "model.safetensors").exists())
        self.assertFalse(self.partial.exists())

    def test_full_disk_then_continued(self):
        disk = self.folder / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode != 0:
            self.skipTest("mounting a small file system is not permitted")
        try:
            ballast = disk / "ballast"
            ballast.write_bytes(b"x" * 1_500_000)
            self.expect_error(self.quantize(out=disk / "out"), 7, "disk", "are free")
            self.assertEqual(os.listdir(disk), ["ballast"])
            # With room the same command succeeds.
            ballast.unlink()
            grown = subprocess.run(
                ["mount", "-o", "remount,size=9m", str(disk)], capture_output=True, check=False
            )
            self.assertEqual(grown.returncode, 0)
            done = self.quantize(out=disk / "out")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue((disk / "out" / "config.json").exists())
        finally:
            subprocess.run(["umount", str(disk)], check=False)

    def test_two_runs_at_once(self):
        command = [PROGRAM, "quantize", str(self.model), "--recipe", "w8a16"]
        command += ["--out", str(self.out)]
        runs = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        codes = []
        for run in runs:
            _, errors = run.communicate()
            codes.append(run.returncode)
            if run.returncode != 0:
                self.assertEqual(run.returncode, 2, errors)
                self.assertRegex(errors, "another run is writing there|exists")
        self.assertIn(0, codes)
        self.assertFalse(self.partial.exists())
        other = self.quantize(out=self.folder / "other")
        self.assertEqual(other.returncode, 0)
        for name in os.listdir(self.out):
            self.assertEqual(
                (self.out / name).read_bytes(), (self.folder / "other" / name).read_bytes(), name
            )

    def test_a_stopped_run_of_another_recipe_is_not_continued(self):
        done = self.quantize(preexec_fn=limit_file_size)
        self.expect_error(done, 6, "File too large")
        done = self.quantize(recipe="w4a16")
        self.expect_error(done, 2, "unfinished run of another model, recipe or version")
        shutil.rmtree(self.partial)
        self.assertEqual(self.quantize(recipe="w4a16").returncode, 0)


if __name__ == "__main__":
    PROGRAM = str(Path(sys.argv.pop(1)).resolve())
    unittest.main()
