"""Bad input of every kind: one clear error, the documented exit code, nothing half-written."""

import json
import os
import pickle
import struct
import unittest
import zipfile

from support import MODEL, TEXT, ProgramTest, aquatint, needs_shared

BAD_OPTION, NOT_FOUND, CORRUPT, UNSUPPORTED, IO, MEMORY, DEVICE, NUMERIC = 2, 3, 4, 5, 6, 7, 8, 9


def tensors(path):
    """Header and data of a safetensors file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), bytearray(data[8 + size :]), data[: 8 + size]


class ModelTest(ProgramTest):
    def test_missing_folder(self):
        for verb in (
            ["inspect"],
            ["run", "-p", "x"],
            ["bench"],
            ["logits", "--tokens", 1, "--out", "x"],
        ):
            self.fail_with(NOT_FOUND, "nosuch", verb[0], self.folder / "nosuch", *verb[1:])
        self.fail_with(
            NOT_FOUND, "nosuch", "compare", MODEL, self.folder / "nosuch", "--text", TEXT
        )

    def test_folder_without_config(self):
        self.fail_with(NOT_FOUND, "config.json", "inspect", self.folder)

    def test_file_instead_of_folder(self):
        self.fail_with(NOT_FOUND, "sample.txt", "inspect", TEXT)

    def test_no_weights(self):
        model = self.model_copy(leave_out=["*.safetensors"])
        self.fail_with(NOT_FOUND, "safetensors", "inspect", model)

    def test_pickle_that_runs_a_command(self):
        """What Python's pickle would carry out is named and not carried out."""
        proof = self.folder / "proof"

        class Attack:
            def __reduce__(self):
                return os.system, (f"touch {proof}",)

        model = self.model_copy(leave_out=["*.safetensors"])
        for protocol in (2, 4):
            with zipfile.ZipFile(model / "pytorch_model.bin", "w") as archive:
                attack = pickle.dumps({"lm_head.weight": Attack()}, protocol)
                archive.writestr("archive/data.pkl", attack)
            for verb in (["inspect"], ["run", "-p", "x"]):
                self.fail_with(UNSUPPORTED, "posix.system", verb[0], model, *verb[1:])
            self.assertFalse(proof.exists())

    def test_file_of_weights_instead_of_folder(self):
        model = self.model_copy()
        self.fail_with(BAD_OPTION, "name the folder", "inspect", model / "model.safetensors")

    def test_truncated_gguf(self):
        file = self.write("model.gguf", "GGUF")
        self.fail_with(CORRUPT, "model.gguf", "inspect", file)
        self.fail_with(CORRUPT, "model.gguf", "tokenize", file, "--text", "x")

    def test_truncated_weights(self):
        model = self.model_copy()
        for size in (0, 7, 100, 100000):
            os.truncate(model / "model.safetensors", size)
            self.fail_with(CORRUPT, "model.safetensors", "inspect", model)
            self.fail_with(CORRUPT, "model.safetensors", "run", model, "-p", "x")
            self.model_copy_again(model)

    def model_copy_again(self, model):
        (model / "model.safetensors").write_bytes((MODEL / "model.safetensors").read_bytes())

    def test_corrupt_weights(self):
        model = self.model_copy()
        weights = model / "model.safetensors"
        weights.write_bytes(b"\xff" * 7 + b"\x7f" + weights.read_bytes()[8:])
        self.fail_with(CORRUPT, ["model.safetensors", "header"], "inspect", model)
        self.model_copy_again(model)
        weights.write_bytes(weights.read_bytes().replace(b'"BF16"', b'"BF17"', 1))
        self.fail_with(UNSUPPORTED, "BF17", "inspect", model)
        weights.write_bytes(b"<html>not found</html>")
        self.fail_with(CORRUPT, "model.safetensors", "inspect", model)

    def test_missing_tensor(self):
        model = self.model_copy()
        weights = model / "model.safetensors"
        weights.write_bytes(weights.read_bytes().replace(b"q_proj", b"z_proj", 1))
        self.fail_with(CORRUPT, "q_proj.weight", "run", model, "-p", "x")

    def test_nan_weights(self):
        model = self.model_copy()
        header, data, front = tensors(model / "model.safetensors")
        name = "model.layers.1.mlp.down_proj.weight"
        data[header[name]["data_offsets"][0] + 1] = 0x7F  # bfloat16 0x7fff: NaN
        data[header[name]["data_offsets"][0]] = 0xFF
        (model / "model.safetensors").write_bytes(front + data)
        out = self.folder / "out"
        for verb in (
            ["run", model, "-p", "x"], ["bench", model], ["eval", model, "--text", TEXT],
            ["compare", MODEL, model, "--text", TEXT],
            ["quantize", model, "--recipe", "w4a16", "--out", out],
            ["logits", model, "--tokens", 1, "--out", self.folder / "l"],
        ):  # fmt: skip
            self.fail_with(NUMERIC, [name, "NaN"], *verb)
        self.assertFalse(out.exists())
        self.assertFalse((self.folder / "l").exists())

    def test_corrupt_config(self):
        model = self.model_copy()
        for text in ("", "{", "[]", "\x00\xff", '{"model_type": 3}', '{"model_type": "gla"}'):
            (model / "config.json").write_text(text, encoding="latin-1")
            self.fail_with(CORRUPT, "config.json", "inspect", model)
        config = json.loads((MODEL / "config.json").read_text())
        for key, value in (
            ("hidden_size", -1),
            ("num_heads", 0),
            ("hidden_size", "big"),
            ("num_heads", 3),
        ):
            (model / "config.json").write_text(json.dumps({**config, key: value}))
            done = aquatint("inspect", model)
            self.assertIn(done.returncode, (CORRUPT, UNSUPPORTED), (key, value, done.stderr))
            self.assertIn(key, done.stderr.decode())

    def test_unsupported_model(self):
        model = self.model_copy()
        config = json.loads((MODEL / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
        self.fail_with(UNSUPPORTED, ["bert", "gla"], "inspect", model)

    def test_missing_tokenizer(self):
        model = self.model_copy(leave_out=["tokenizer.json"])
        self.fail_with(NOT_FOUND, "tokenizer.json", "run", model, "-p", "x")
        self.fail_with(NOT_FOUND, "tokenizer.json", "eval", model, "--text", TEXT)
        self.succeed("inspect", model)
        self.succeed("logits", model, "--tokens", "1,2", "--out", self.folder / "l")

    def test_corrupt_tokenizer(self):
        model = self.model_copy()
        text = (MODEL / "tokenizer.json").read_text()
        for bad in ("", "xx", text[: len(text) // 2], '{"model": 3}', "[]"):
            (model / "tokenizer.json").write_text(bad)
            self.fail_with(CORRUPT, "tokenizer.json", "run", model, "-p", "x")

    def test_quantized_model_again(self):
        out = self.folder / "w4"
        self.succeed("quantize", MODEL, "--recipe", "w4a16", "--out", out)
        self.fail_with(
            UNSUPPORTED,
            "already quantized",
            "quantize",
            out,
            "--recipe",
            "w8a16",
            "--out",
            self.folder / "again",
        )


class RecipeTest(ProgramTest):
    def quantize(self, code, words, recipe):
        out = self.folder / "out"
        self.fail_with(code, words, "quantize", MODEL, "--recipe", recipe, "--out", out)
        self.assertEqual([name for name in self.contents() if name.startswith("out")], [])

    def test_unknown_recipe(self):
        self.quantize(NOT_FOUND, ["'w4a61'", "did you mean 'w4a16'?"], "w4a61")

    def test_damaged_recipes(self):
        for text, word in (
            ("weights:\n  bit: 4\n", "did you mean 'bits'?"),
            ("weights: {bits: 5}\n", "bits is 5"),
            ("weights: [\n", "line"),
            ("", "recipe"),
            ("weights: {bits: 4}\nignore: [no_such_module]\n", "no_such_module"),
            ("weights: {bits: 4}\nrounding: nearset\n", "did you mean 'nearest'?"),
        ):
            self.quantize(BAD_OPTION, word, self.write("recipe.yaml", text))

    def test_existing_output(self):
        out = self.folder / "out"
        out.mkdir()
        (out / "precious").write_text("mine")
        self.fail_with(BAD_OPTION, "exists", "quantize", MODEL, "--recipe", "w4a16", "--out", out)
        self.assertEqual((out / "precious").read_text(), "mine")

    def test_overwriting_the_model_itself(self):
        model = self.model_copy()
        before = {path.name: path.read_bytes() for path in model.iterdir()}
        self.fail_with(
            BAD_OPTION,
            "model",
            "quantize",
            model,
            "--recipe",
            "w4a16",
            "--out",
            model,
            "--overwrite",
        )
        self.assertEqual(before, {path.name: path.read_bytes() for path in model.iterdir()})


class TextTest(ProgramTest):
    def test_missing_and_empty(self):
        self.fail_with(NOT_FOUND, "nosuch.txt", "eval", MODEL, "--text", self.folder / "nosuch.txt")
        empty = self.write("empty.txt", "")
        self.fail_with(CORRUPT, "is empty", "eval", MODEL, "--text", empty)
        self.fail_with(CORRUPT, "is empty", "compare", MODEL, MODEL, "--text", empty)
        self.fail_with(IO, "not a regular file", "eval", MODEL, "--text", self.folder)

    def test_shorter_than_a_window(self):
        short = self.write("short.txt", "Only a few words.")
        for protocol in ("gptq", "llama.cpp"):
            self.fail_with(
                BAD_OPTION,
                ["short.txt", "too few", protocol],
                "eval",
                MODEL,
                "--text",
                short,
                "--protocol",
                protocol,
            )
        self.succeed("eval", MODEL, "--text", short, "--protocol", "lm-eval")

    def test_not_utf8(self):
        bad = self.write("latin1.txt", b"caf\xe9 " * 400)
        self.fail_with(CORRUPT, ["latin1.txt", "byte 3", "UTF-8"], "eval", MODEL, "--text", bad)
        self.fail_with(CORRUPT, ["latin1.txt", "byte 3", "UTF-8"], "tokenize", MODEL, "--file", bad)
        self.fail_with(BAD_OPTION, ["prompt", "UTF-8"], "run", MODEL, input=b"caf\xe9")

    def test_bad_jsonl(self):
        self.fail_with(
            CORRUPT,
            "line 2",
            "eval",
            MODEL,
            "--text",
            self.write("a.jsonl", '{"text": "x"}\n{"text": \n'),
        )

    def test_unknown_names(self):
        self.fail_with(
            BAD_OPTION,
            ["'wikitex'", "wikitext"],
            "eval",
            MODEL,
            "--tasks",
            "wikitex",
            "--data",
            ".",
        )
        self.fail_with(
            NOT_FOUND, "wikitext.jsonl", "eval", MODEL, "--tasks", "wikitext", "--data", self.folder
        )
        self.fail_with(BAD_OPTION, "--data", "eval", MODEL, "--tasks", "wikitext")
        self.fail_with(BAD_OPTION, "--text", "eval", MODEL)
        self.fail_with(
            BAD_OPTION,
            ["'foo'", "lm-eval, gptq or llama.cpp"],
            "eval",
            MODEL,
            "--text",
            TEXT,
            "--protocol",
            "foo",
        )

    def test_other_vocabulary(self):
        gpt2 = needs_shared("models", "gla")
        self.fail_with(BAD_OPTION, "vocabular", "eval", MODEL, "--text", TEXT, "--reference", gpt2)


class OutputTest(ProgramTest):
    def test_unwritable_json_fails_before_the_work(self):
        target = self.folder / "none" / "x.json"
        for verb in (
            ["inspect", MODEL], ["bench", MODEL], ["eval", MODEL, "--text", TEXT],
            ["run", MODEL, "-p", "x"],
            ["compare", MODEL, MODEL, "--text", TEXT], ["tokenize", MODEL, "--text", "x"],
            ["quantize", MODEL, "--recipe", "w4a16", "--out", self.folder / "out"],
        ):  # fmt: skip
            self.fail_with(IO, str(target), *verb, "--json", target)
        self.assertEqual(self.contents(), [])
        self.fail_with(IO, "is a folder", "inspect", MODEL, "--json", self.folder)

    def test_unwritable_out(self):
        self.fail_with(IO, "/proc/x", "logits", MODEL, "--tokens", "1", "--out", "/proc/x")
        for verb in (
            ["quantize", MODEL, "--recipe", "w4a16"],
            ["synth", "--arch", "gla", "--config", MODEL / "config.json"],
        ):
            done = aquatint(*verb, "--out", "/proc/x")
            self.assertIn(done.returncode, (IO, MEMORY), done.stderr)
            self.assertIn(b"/proc/x", done.stderr)
        file = self.write("file", "x")
        self.fail_with(IO, "file", "logits", MODEL, "--tokens", "1", "--out", file / "below")

    def test_quantize_without_its_device(self):
        arguments = ["quantize", MODEL, "--recipe", "w4a16", "--out", self.folder / "out"]
        none = {**os.environ, "AQUATINT_CUDA_MODULE": "/nowhere/module.so"}
        self.fail_with(DEVICE, "device 'cuda': ", *arguments, "--device", "cuda", env=none)
        self.fail_with(DEVICE, "device 'cuda:999': ", *arguments, "--device", "cuda:999")
        for name in ("gpu", "cuda:", "cuda:x", "cuda:-1", ""):
            expected = f"device '{name}': expected cpu, cuda, cuda:N or auto"
            self.fail_with(BAD_OPTION, expected, *arguments, "--device", name)
        self.succeed(*arguments[:-2], "--dry-run", "--device", "auto", env=none)
        self.assertEqual(self.contents(), [])

    def test_full_device(self):
        with open("/dev/full", "wb") as full:
            for verb in (
                ["inspect", MODEL], ["run", MODEL, "-p", "x", "-n", 3], ["--help"], ["--version"],
                ["completion"], ["tokenize", MODEL, "--text", "x"], ["run", "--help"],
                ["inspect", MODEL, "--json", "-"],
            ):  # fmt: skip
                self.fail_with(IO, "standard output", *verb, stdout=full)

    def test_closed_pipe(self):
        read, write = os.pipe()
        os.close(read)
        self.fail_with(IO, "standard output", "run", MODEL, "-p", "x", stdout=write)
        os.close(write)


class NumbersTest(ProgramTest):
    def test_out_of_range(self):
        for option, values in {
            "--max-tokens": ["-5", "99999999999999999999", "3x", "1.5", ""],
            "--temperature": ["-1", "nan", "inf", "x"],
            "--top-k": ["-3"],
            "--top-p": ["0", "3"],
            "--min-p": ["-1", "1"],
            "--repetition-penalty": ["0"],
            "--repeat-last-n": ["-1"],
            "--seed": ["-1", "18446744073709551616"],
            "--threads": ["0", "-1", "100000"],
            "--dtype": ["int8"],
        }.items():
            for value in values:
                self.fail_with(BAD_OPTION, option, "run", MODEL, "-p", "x", f"{option}={value}")
        self.fail_with(BAD_OPTION, "--stop", "run", MODEL, "-p", "x", "--stop", "")

    def test_other_verbs(self):
        for option, value in (
            ("--repeats", 0), ("--batch", 0), ("--prompt-tokens", -5), ("--generated-tokens", 0),
            ("--batch", 10**11), ("--prompt-tokens", 10**11),
        ):  # fmt: skip
            self.fail_with(BAD_OPTION, option, "bench", MODEL, option, value)
        for option, value in (("--window", -1), ("--max-tokens", 10**20), ("--batch", 10**9)):
            self.fail_with(BAD_OPTION, option, "eval", MODEL, "--text", TEXT, option, value)
        self.fail_with(BAD_OPTION, "window", "eval", MODEL, "--text", TEXT, "--window", 1)
        self.fail_with(
            BAD_OPTION,
            "--max-shard-size",
            "quantize",
            MODEL,
            "--recipe",
            "w4a16",
            "--out",
            self.folder / "o",
            "--max-shard-size",
            0,
        )

    def test_token_ids(self):
        out = self.folder / "l.safetensors"
        for ids in ("1,99999", "-1", "99999999999", "1,,2", "a"):
            self.fail_with(BAD_OPTION, "token", "logits", MODEL, f"--tokens={ids}", "--out", out)
        for ids in ("99999", "-5", "2048"):
            self.fail_with(BAD_OPTION, "token", "tokenize", MODEL, f"--decode={ids}")
        self.assertFalse(out.exists())

    def test_huge_max_tokens_stops_when_asked(self):
        result = self.succeed_json(
            "run", MODEL, "-p", "Once upon a time", "-n", 2147483647, "--stop", "e", "--seed", 1
        )
        self.assertEqual(result["stop_reason"], "stop string")

    def test_taps_that_match_nothing(self):
        self.fail_with(
            BAD_OPTION,
            "no tap",
            "logits",
            MODEL,
            "--tokens",
            "1",
            "--taps",
            "nothing*",
            "--out",
            self.folder / "l",
        )
        self.assertEqual(self.contents(), [])


if __name__ == "__main__":
    unittest.main()
