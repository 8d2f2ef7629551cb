"""Calibration end to end: static scales, what they were made of, histograms, and bad requests."""

import json
import shutil
import unittest
import zipfile

from support import MODEL, TEXT, ProgramTest


class CalibrationTest(ProgramTest):
    def quantize(self, name, *options):
        out = self.folder / name
        report = self.succeed_json(
            "quantize", MODEL, "--out", out, "--recipe", "w8a8-static", *options
        )
        return out, report

    def test_scales_are_written_and_run(self):
        out, report = self.quantize("a", "--calib", TEXT, "--calib-length", 64)
        self.assertGreater(report["calibration"]["tokens"], 1000)
        config = json.loads((out / "config.json").read_text(encoding="utf-8"))
        self.assertIn(report["calibration"]["fingerprint"], config["aquatint"]["calibration"])
        groups = config["quantization_config"]["config_groups"].values()
        self.assertTrue(all(g["input_activations"]["dynamic"] is False for g in groups))
        measured = [
            self.succeed_json(
                "eval", out, "--text", TEXT, "--max-tokens", 2048, "--reference", MODEL, *more
            )["results"][0]["divergence"]["kld_mean"]
            for more in ((), ("--simulate",))
        ]
        self.assertLess(measured[0], 0.05)
        self.assertAlmostEqual(measured[0] / measured[1], 1, delta=0.1)

    def test_same_data_gives_the_same_bytes(self):
        files = []
        for name, threads in (("a", 1), ("b", 2)):
            out, _ = self.quantize(name, "--calib", TEXT, "--threads", threads)
            files.append((out / "model.safetensors").read_bytes())
        self.assertEqual(files[0], files[1])

    def test_histograms(self):
        npz, plots = self.folder / "h.npz", self.folder / "plots"
        options = ["--histograms", npz]
        if shutil.which("gnuplot"):
            options += ["--histogram-plots", plots]
        # Any recipe: w4a16 has nothing to calibrate.
        self.succeed("quantize", MODEL, "--recipe", "w4a16", "--out", self.folder / "o", *options)
        names = zipfile.ZipFile(npz).namelist()
        self.assertIn("names.npy", names)
        self.assertIn("r0_counts.npy", names)
        if shutil.which("gnuplot"):
            self.assertTrue((plots / "index.html").exists())
            pictures = list(plots.glob("*.png"))
            self.assertGreater(len(pictures), 10)
            self.assertTrue(pictures[0].read_bytes().startswith(b"\x89PNG"))

    def test_bad_requests(self):
        out = ["--out", self.folder / "o"]
        static = ["quantize", MODEL, "--recipe", "w8a8-static", *out]
        kept = ["quantize", MODEL, "--recipe", "w4a16", *out]
        self.fail_with(2, "nothing to calibrate", *kept, "--calib", TEXT)
        self.fail_with(3, "no-such.txt", *static, "--calib", "no-such.txt")
        self.fail_with(2, "--calib-min-length", *static, "--calib-min-length", 0)
        empty = self.write("empty.txt", "")
        self.fail_with(4, "empty.txt", *static, "--calib", empty)
        self.assertFalse((self.folder / "o").exists())


if __name__ == "__main__":
    unittest.main()
