"""export: a folder with the values of the model in the type asked for, or an error and nothing."""

import json
import os
import unittest

import numpy
from safetensors import safe_open

from support import MODEL, TEXT, ProgramTest, QuantizedTest

BAD_OPTION, NUMERIC = 2, 9


def tensors(folder):
    """Name -> (dtype name, float32 values) of a folder's safetensors files."""
    result = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            raw = data[begin:end]
            if entry["dtype"] == "BF16":
                bits = numpy.frombuffer(raw, numpy.uint16).astype(numpy.uint32) << 16
                values = bits.view(numpy.float32)
            else:
                kind = {"F32": numpy.float32, "F16": numpy.float16}[entry["dtype"]]
                values = numpy.frombuffer(raw, kind).astype(numpy.float32)
            result[name] = (entry["dtype"], values.reshape(entry["shape"]))
    return result


class ExportTest(QuantizedTest):
    def export(self, model, dtype, *arguments):
        out = self.folder / f"out-{dtype}"
        self.succeed("export", model, "--dtype", dtype, "--out", out, *arguments)
        return out

    def test_every_type(self):
        original = tensors(MODEL)
        for dtype, code in (("float32", "F32"), ("bfloat16", "BF16"), ("float16", "F16")):
            out = self.export(MODEL, dtype)
            copy = tensors(out)
            self.assertEqual(set(copy), set(original))
            for name, (found, values) in copy.items():
                self.assertEqual(found, code)
                expected = original[name][1]
                if dtype == "float16":
                    expected = expected.astype(numpy.float16).astype(numpy.float32)
                numpy.testing.assert_array_equal(values, expected, name)
            config = json.loads((out / "config.json").read_text())
            self.assertEqual(config["torch_dtype"], dtype)
            self.assertEqual(
                (out / "tokenizer.json").read_bytes(), (MODEL / "tokenizer.json").read_bytes()
            )
            with safe_open(out / "model.safetensors", "numpy") as weights:
                self.assertEqual(weights.metadata(), {"format": "pt"})
        self.assertFalse([name for name in self.contents() if "partial" in name])

    def test_float32_runs_as_the_original(self):
        out = self.export(MODEL, "float32")
        arguments = ["--text", TEXT, "--max-tokens", 1100, "--dtype", "float32"]
        results = [
            self.succeed_json("eval", model, *arguments)["results"][0]["perplexity"]["nll_sum"]
            for model in (MODEL, out)
        ]
        self.assertEqual(results[0], results[1])

    def test_quantized_models_become_their_grid(self):
        for recipe in ("w4a16", "w8a8-dynamic"):
            out = self.folder / recipe
            self.succeed("export", self.quantized(recipe), "--out", out)
            config = json.loads((out / "config.json").read_text())
            self.assertNotIn("quantization_config", config)
            self.assertNotIn("aquatint", config)
            self.assertEqual({dtype for dtype, _ in tensors(out).values()}, {"F32"})
            name = "model.layers.0.mlp.up_proj.weight"
            values = tensors(out)[name][1]
            levels = [len(numpy.unique(row[:32])) for row in values]
            self.assertLessEqual(max(levels), 16 if recipe == "w4a16" else 32)
            # The copy in float arithmetic and the original simulated are the same function.
            arguments = ["--text", TEXT, "--max-tokens", 1100]
            copy = self.succeed_json("eval", out, *arguments)
            if recipe == "w4a16":
                simulated = self.succeed_json(
                    "eval", self.quantized(recipe), *arguments, "--simulate", "--dtype", "float32"
                )
                a, b = (
                    r["results"][0]["perplexity"]["token_perplexity"] for r in (copy, simulated)
                )
                self.assertAlmostEqual(a / b, 1, delta=2e-3)

    def test_shards_and_json(self):
        out = self.folder / "out"
        result = self.succeed_json("export", MODEL, "--out", out, "--max-shard-size", 1)
        self.assertGreater(result["shards"], 1)
        self.assertEqual(result["bytes_after"], 2 * result["bytes_before"])
        self.assertEqual(len(list(out.glob("model-*.safetensors"))), result["shards"])
        self.succeed("run", out, "-p", "x", "-n", 2)


class OverflowTest(ProgramTest):
    def with_large_value(self):
        """A float32 copy of the model with one value beyond float16."""
        model = self.folder / "model"
        self.succeed("export", MODEL, "--out", model)
        path = model / "model.safetensors"
        data = bytearray(path.read_bytes())
        size = int.from_bytes(data[:8], "little")
        entry = json.loads(data[8 : 8 + size])["model.layers.1.mlp.down_proj.weight"]
        begin = 8 + size + entry["data_offsets"][0]
        data[begin : begin + 8] = numpy.array([-70000.0, 65519.0], numpy.float32).tobytes()
        path.write_bytes(data)
        return model

    def test_float16(self):
        model, out = self.with_large_value(), self.folder / "out"
        words = ["model.layers.1.mlp.down_proj.weight", "-70000", "float16", "65504", "1 of its"]
        self.fail_with(NUMERIC, words, "export", model, "--dtype", "float16", "--out", out)
        self.assertEqual([name for name in self.contents() if name.startswith("out")], [])
        result = self.succeed_json("export", model, "--dtype", "float16", "--out", out, "--clamp")
        self.assertEqual(result["clamped"], 1)
        values = tensors(out)["model.layers.1.mlp.down_proj.weight"][1].ravel()
        self.assertEqual(list(values[:2]), [-65504.0, 65504.0])
        self.succeed("export", model, "--dtype", "bfloat16", "--out", self.folder / "bf16")


class FolderTest(ProgramTest):
    def test_existing_outputs(self):
        out = self.folder / "out"
        out.mkdir()
        (out / "precious").write_text("mine")
        self.fail_with(BAD_OPTION, "exists", "export", MODEL, "--out", out)
        self.fail_with(
            BAD_OPTION, "not a model folder", "export", MODEL, "--out", out, "--overwrite"
        )
        self.assertEqual(os.listdir(out), ["precious"])
        model = self.model_copy()
        self.fail_with(BAD_OPTION, "model", "export", model, "--out", model, "--overwrite")
        self.succeed("export", MODEL, "--out", self.folder / "new")
        self.fail_with(BAD_OPTION, "exists", "export", MODEL, "--out", self.folder / "new")
        self.succeed("export", MODEL, "--out", self.folder / "new", "--overwrite")

    def test_a_killed_run_is_started_over(self):
        out = self.folder / "out"
        self.succeed("export", MODEL, "--out", out)
        expected = (out / "model.safetensors").read_bytes()
        partial = self.folder / "out.partial"
        out.rename(partial)  # what a killed run would have left
        (partial / "config.json").unlink()
        (partial / "model.safetensors").rename(partial / "model.safetensors.partial")
        self.fail_with(BAD_OPTION, "in the way", "export", MODEL, "--out", out)
        (partial / "journal.jsonl").write_text('{"run": "of another model"}\n')
        self.fail_with(BAD_OPTION, "unfinished run", "export", MODEL, "--out", out)
        (partial / "journal.jsonl").write_text("")
        self.succeed("export", MODEL, "--out", out)
        self.assertEqual((out / "model.safetensors").read_bytes(), expected)
        self.assertFalse(partial.exists())


if __name__ == "__main__":
    unittest.main()
