"""Every verb end to end on the model in assets/, and its numbers against independent ones."""

import json
import re
import unittest

import numpy
from safetensors import safe_open
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from support import MODEL, TEXT, ProgramTest, QuantizedTest, needs_shared


class QuantizeTest(ProgramTest):
    def test_builtin_recipe(self):
        out = self.folder / "out"
        text = self.succeed("quantize", MODEL, "--recipe", "w4a16", "--out", out)
        self.assertIn("mlp_in", text)
        self.assertRegex(text, r"wrote .*out: 2\.2 MiB -> 9\d\d\.\d KiB")
        names = sorted(path.name for path in out.iterdir())
        self.assertEqual(
            names,
            [
                "config.json",
                "model.safetensors",
                "recipe.yaml",
                "tokenizer.json",
                "tokenizer_config.json",
            ],
        )
        config = json.loads((out / "config.json").read_text())
        self.assertEqual(config["quantization_config"]["quant_method"], "compressed-tensors")
        with safe_open(out / "model.safetensors", "numpy") as weights:
            packed = weights.get_tensor("model.layers.0.mlp.up_proj.weight_packed")
        self.assertEqual((packed.dtype, packed.shape), (numpy.int32, (384, 128 // 8)))
        self.assertEqual([name for name in self.contents() if "partial" in name], [])

    def test_dry_run_writes_nothing(self):
        plan = self.succeed_json(
            "quantize", MODEL, "--recipe", "w8a16", "--dry-run", "--out", self.folder / "out"
        )
        self.assertEqual(self.contents(), [])
        self.assertGreater(plan["bytes_before"], plan["bytes_after"])
        schemes = {t["name"]: t["scheme"] for t in plan["tensors"]}
        self.assertIn("W8", schemes["model.layers.0.mlp.up_proj.weight"])
        self.assertIsNone(schemes["model.norm.weight"])
        self.assertEqual(plan["recipe"], "w8a16")
        self.assertGreater(plan["estimated_seconds"], 0)

    def test_yaml_recipe_and_json(self):
        recipe = self.write("mine.yaml", (
            "description: eight bits, the way down in four\nweights: {bits: 8}\n"
            "overrides:\n  - {match: role:mlp_out, weights: {bits: 4, group_size: 32}}\n"
            "ignore: role:mixer_gate\n"
        ))  # fmt: skip
        report = self.folder / "report.json"
        self.succeed(
            "quantize", MODEL, "--recipe", recipe, "--out", self.folder / "out", "--json", report
        )
        result = json.loads(report.read_text())
        schemes = {t["name"]: t["scheme"] for t in result["tensors"]}
        self.assertIn("W4 group 32", schemes["model.layers.3.mlp.down_proj.weight"])
        self.assertIn("W8", schemes["model.layers.3.mlp.up_proj.weight"])
        self.assertIsNone(schemes["model.layers.3.attn.g_proj.weight"])
        stored = sum(path.stat().st_size for path in (self.folder / "out").glob("*.safetensors"))
        self.assertAlmostEqual(stored, result["bytes_after"], delta=32 << 10)

    def test_same_bytes_again_and_overwrite(self):
        first, second = self.folder / "first", self.folder / "second"
        self.succeed("quantize", MODEL, "--recipe", "w4a16", "--out", first, "--threads", 1)
        second.mkdir()
        self.succeed("quantize", MODEL, "--recipe", "w8a16", "--out", second / "o")
        self.succeed("quantize", MODEL, "--recipe", "w4a16", "--out", second / "o", "--overwrite")
        self.assertEqual(
            (first / "model.safetensors").read_bytes(),
            (second / "o" / "model.safetensors").read_bytes(),
        )

    def test_devices_give_the_same_files(self):
        # Without a GPU, auto is the CPU.
        cpu, other = self.folder / "cpu", self.folder / "other"
        arguments = ["quantize", MODEL, "--recipe", "w4a16-g32-asym", "--out"]
        self.assertEqual(self.succeed_json(*arguments, cpu)["device"], "cpu")
        device = self.succeed_json(*arguments, other, "--device", "auto")["device"]
        self.assertIn(device, ("cpu", "cuda:0"))
        for path in cpu.iterdir():
            self.assertEqual(path.read_bytes(), (other / path.name).read_bytes(), path.name)
        self.assertEqual(len(list(cpu.iterdir())), len(list(other.iterdir())))

    def test_shards(self):
        out = self.folder / "out"
        self.succeed("quantize", MODEL, "--recipe", "w8a16", "--out", out, "--max-shard-size", 1)
        self.assertTrue((out / "model.safetensors.index.json").exists())
        self.succeed("run", out, "-p", "x", "-n", 2)


class EvalTest(QuantizedTest):
    def test_protocols(self):
        expected = {"lm-eval": (1024, 6559), "gptq": (1024, 6138), "llama.cpp": (512, 3060)}
        for protocol, (window, scored) in expected.items():
            out = self.succeed_json("eval", MODEL, "--text", TEXT, "--protocol", protocol)
            result = out["results"][0]["perplexity"]
            self.assertEqual(
                (result["protocol"], result["window"], result["tokens_scored"]),
                (protocol, window, scored),
            )
            self.assertTrue(38 < result["token_perplexity"] < 41, result)
            self.assertEqual(result["word_perplexity"] is not None, protocol == "lm-eval")

    def test_reference_and_text(self):
        text = self.succeed("eval", self.quantized("w4a16"), "--text", TEXT, "--reference", MODEL)
        self.assertIn("protocol gptq, window 1024, BOS tokenizer, 6138 of 6559 tokens scored", text)
        for measure in (
            "token perplexity",
            "reference perplexity",
            "KL divergence",
            "same top token",
        ):
            self.assertIn(measure, text)
        self.assertLessEqual(max(len(line) for line in text.splitlines()), 110)

    def test_simulated_agrees_with_integer(self):
        arguments = ["eval", self.quantized("w8a8-dynamic"), "--text", TEXT, "--max-tokens", 1024]
        integer = self.succeed_json(*arguments)
        simulated = self.succeed_json(*arguments, "--simulate")
        values = [r["results"][0]["perplexity"]["token_perplexity"] for r in (integer, simulated)]
        self.assertAlmostEqual(values[0] / values[1], 1, delta=2e-3)
        self.assertEqual([integer["execution"], simulated["execution"]], ["integer", "simulated"])

    def test_threads_do_not_matter(self):
        results = [
            self.succeed_json("eval", MODEL, "--text", TEXT, "--max-tokens", 2048, "--threads", n)
            for n in (1, 2)
        ]
        values = [r["results"][0]["perplexity"]["nll_sum"] for r in results]
        self.assertEqual(values[0], values[1])

    def test_wikitext(self):
        data = needs_shared("data")
        out = self.succeed_json(
            "eval", MODEL, "--tasks", "wikitext", "--data", data, "--max-documents", 1
        )
        result = out["results"][0]["perplexity"]
        self.assertEqual((result["documents"], result["protocol"]), (1, "lm-eval"))
        self.assertGreater(result["word_perplexity"], result["token_perplexity"])


class CompareTest(QuantizedTest):
    def test_table_and_json(self):
        report = self.folder / "report.json"
        models = [self.quantized("w8a8-dynamic"), self.quantized("w4a16")]
        text = self.succeed(
            "compare",
            MODEL,
            *models,
            "--text",
            TEXT,
            "--max-tokens",
            2100,
            "--prompt-tokens",
            64,
            "--generated-tokens",
            8,
            "--repeats",
            1,
            "--json",
            report,
        )
        lines = text.splitlines()
        self.assertRegex(
            lines[0],
            r"model +size +perplexity +change +KLD +top-1 +prefill t/s +decode t/s +peak memory",
        )
        self.assertEqual(len({len(line) for line in lines[1:5]}), 1, "columns are aligned")
        rows = json.loads(report.read_text())
        self.assertEqual([row["model"] for row in rows], [str(MODEL), *map(str, models)])
        self.assertNotIn("divergence", rows[0]["quality"])
        kld = [row["quality"]["divergence"]["kld_mean"] for row in rows[1:]]
        self.assertTrue(0 < kld[0] < 0.004 and kld[0] < kld[1] < 0.2, kld)
        for row in rows:
            self.assertGreater(row["speed"]["decode_tokens_per_second"]["median"], 0)
            self.assertGreater(row["speed"]["peak_memory_bytes"], row["speed"]["weight_bytes"])


class InspectTest(QuantizedTest):
    def test_numbers(self):
        out = self.succeed_json("inspect", MODEL)
        with safe_open(MODEL / "model.safetensors", "numpy") as weights:
            sizes = [numpy.prod(weights.get_slice(key).get_shape()) for key in weights.keys()]
        self.assertEqual((out["architecture"], out["blocks"], out["vocab_size"]), ("gla", 4, 2048))
        self.assertEqual(out["parameters"], sum(t["parameters"] for t in out["roles"].values()))
        self.assertEqual(out["parameters"], sum(sizes))
        self.assertEqual(out["bytes"], 2 * sum(sizes))  # bfloat16

    def test_quantized(self):
        out = self.succeed_json("inspect", self.quantized("w4a16"))
        self.assertTrue(out["quantized"])
        self.assertIn("W4", next(iter(out["roles"]["mlp_in"]["stored"])))
        text = self.succeed("inspect", self.quantized("w4a16"), "--tensors")
        self.assertIn("model.layers.3.mlp.down_proj.weight", text)


class BenchTest(QuantizedTest):
    def test_rates(self):
        for model in (MODEL, self.quantized("w8a8-dynamic"), self.quantized("w4a16")):
            out = self.succeed_json(
                "bench",
                model,
                "--prompt-tokens",
                32,
                "--generated-tokens",
                4,
                "--repeats",
                2,
                "--batch",
                2,
                "--threads",
                1,
            )
            # What inspect says of running it is what running it takes, but for padding.
            told = self.succeed_json("inspect", model)["running_weight_bytes"]
            self.assertAlmostEqual(told, out["weight_bytes"], delta=0.05 * told)
            for rate in (out["prefill_tokens_per_second"], out["decode_tokens_per_second"]):
                self.assertTrue(0 < rate["min"] <= rate["median"] <= rate["max"])
            self.assertEqual((out["batch"], out["threads"]), (2, 1))
        text = self.succeed(
            "bench", MODEL, "--prompt-tokens", 32, "--generated-tokens", 4, "--repeats", 1
        )
        for word in ("prefill", "decode", "tokens/s", "GB/s", "peak"):
            self.assertIn(word, text)


class LogitsTest(ProgramTest):
    def compare_with_reference(self, name):
        model = needs_shared("models", name)
        reference = load_file(model / "reference.safetensors")
        cases = sorted(key.split(".")[0] for key in reference if key.endswith(".input_ids"))
        self.assertGreater(len(cases), 1)
        for case in cases:
            ids = reference[case + ".input_ids"]
            out = self.folder / f"{case}.safetensors"
            self.succeed(
                "logits",
                model,
                "--tokens",
                ",".join(map(str, ids)),
                "--taps",
                "hidden.*",
                "--out",
                out,
            )
            ours = load_file(out)
            self.assertEqual(ours["input_ids"].tolist(), ids.tolist())
            self.assertLess(
                numpy.abs(ours["logits"] - reference[case + ".logits"]).max(), 1e-4, case
            )
            for key in ours:
                if key.startswith("hidden."):
                    wanted = reference[f"{case}.{key}"]
                    self.assertLess(
                        numpy.abs(ours[key] - wanted).max(), 1e-4 * max(1, abs(wanted).max()), key
                    )

    def test_gla_demo(self):
        self.compare_with_reference("gla-demo")

    def test_gla(self):
        self.compare_with_reference("gla")

    def test_taps_and_text(self):
        out = self.folder / "l.safetensors"
        self.succeed(
            "logits",
            MODEL,
            "--text",
            "Once upon a time",
            "--taps",
            "hidden.*",
            "--taps",
            "model.layers.1.mlp.down_proj.inpu?",
            "--out",
            out,
        )
        ours = load_file(out)
        n = len(ours["input_ids"])
        self.assertEqual(ours["logits"].shape, (n, 2048))
        self.assertEqual(
            {k for k in ours if k.startswith("hidden.")}, {f"hidden.{i}" for i in range(5)}
        )
        self.assertEqual(ours["model.layers.1.mlp.down_proj.input"].shape, (n, 384))


class TokenizeTest(ProgramTest):
    TEXT = "Hello, wörld 🙂\n\tdoor  behind <s> him…"

    def test_against_tokenizers(self):
        reference = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
        for special in (True, False):
            extra = [] if special else ["--no-special"]
            ids = self.succeed("tokenize", MODEL, "--text", self.TEXT, "--ids", *extra)
            self.assertEqual(
                list(map(int, ids.split())),
                reference.encode(self.TEXT, add_special_tokens=special).ids,
            )
        out = self.succeed_json("tokenize", MODEL, "--file", TEXT)
        self.assertEqual(out["ids"], reference.encode(TEXT.read_text(encoding="utf-8")).ids)

    def test_round_trip(self):
        ids = self.succeed("tokenize", MODEL, "--text", self.TEXT, "--ids").split()
        back = self.succeed("tokenize", MODEL, "--decode", ",".join(ids), "--no-special")
        self.assertEqual(
            back,
            Tokenizer.from_file(str(MODEL / "tokenizer.json")).decode(list(map(int, ids))) + "\n",
        )

    def test_table(self):
        text = self.succeed("tokenize", MODEL, "--text", "Hello")
        self.assertRegex(text, r"id +token +bytes\n-+ +-+ +-+\n")
        self.assertIn("<s>", text)
        # A token that is a line end does not break the table.
        lines = self.succeed("tokenize", MODEL, "--text", "a\n\nb\tc").splitlines()
        self.assertTrue(all(re.match(r" *\d+ .* \d+-\d+$", line) for line in lines[2:-1]), lines)


class SynthTest(ProgramTest):
    def test_makes_a_model_that_runs(self):
        for name in ("a", "b"):
            self.succeed(
                "synth",
                "--arch",
                "gla",
                "--config",
                MODEL / "config.json",
                "--out",
                self.folder / name,
                "--seed",
                7,
                "--dtype",
                "float32",
            )
        files = [(self.folder / name / "model.safetensors").read_bytes() for name in ("a", "b")]
        self.assertEqual(files[0], files[1])
        self.succeed("logits", self.folder / "a", "--tokens", "1,2,3", "--out", self.folder / "l")
        self.assertTrue(numpy.isfinite(load_file(self.folder / "l")["logits"]).all())

    def test_errors(self):
        config = MODEL / "config.json"
        self.fail_with(
            2,
            ["describes a gla model", "mamba"],
            "synth",
            "--arch",
            "mamba",
            "--config",
            config,
            "--out",
            self.folder / "o",
        )
        self.fail_with(
            2,
            ["--arch", "rwkv"],
            "synth",
            "--arch",
            "rwkv",
            "--config",
            config,
            "--out",
            self.folder / "o",
        )
        self.fail_with(
            3, "nosuch", "synth", "--arch", "gla", "--config", "nosuch", "--out", self.folder / "o"
        )
        self.fail_with(
            2, "exists", "synth", "--arch", "gla", "--config", config, "--out", self.folder
        )


if __name__ == "__main__":
    unittest.main()
