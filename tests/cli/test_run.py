"""Generating text: the same seed gives the same text, which streams in whole characters."""

import os
import subprocess
import unittest

from tokenizers import Tokenizer

from support import MODEL, PROGRAM, QuantizedTest

PROMPT = "The old man shut the door behind him, and"


class RunTest(QuantizedTest):
    def test_greedy_is_deterministic(self):
        for model in (MODEL, self.quantized("w4a16")):
            runs = [
                self.succeed(
                    "run", model, "-p", PROMPT, "-n", 20, "--temperature", 0, "--threads", n
                )
                for n in (1, 2)
            ]
            self.assertEqual(runs[0], runs[1])
            self.assertTrue(runs[0].startswith(PROMPT + " "), runs[0])

    def test_seed_is_deterministic(self):
        texts = [
            self.succeed("run", MODEL, "-p", PROMPT, "-n", 30, "--seed", seed) for seed in (1, 1, 2)
        ]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_json_tells_the_seed_that_repeats_it(self):
        first = self.succeed_json("run", MODEL, "-p", PROMPT, "-n", 20)
        again = self.succeed_json("run", MODEL, "-p", PROMPT, "-n", 20, "--seed", first["seed"])
        self.assertEqual(first["tokens"], again["tokens"])
        self.assertEqual(len(first["tokens"]), 20)

    def test_prompt_from_standard_input(self):
        given = self.succeed("run", MODEL, "-p", PROMPT, "-n", 10, "--temperature", 0)
        self.assertEqual(
            self.succeed("run", MODEL, "-n", 10, "--temperature", 0, input=PROMPT.encode()), given
        )

    def test_text_continues_the_prompt(self):
        result = self.succeed_json("run", MODEL, "-p", PROMPT, "-n", 30, "--temperature", 0)
        reference = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
        everything = reference.decode(result["prompt_tokens"] + result["tokens"])
        self.assertEqual(PROMPT + result["text"], everything)
        self.assertEqual(
            self.succeed("run", MODEL, "-p", PROMPT, "-n", 30, "--temperature", 0, "--no-echo"),
            result["text"] + "\n",
        )

    def test_stop(self):
        full = self.succeed_json("run", MODEL, "-p", PROMPT, "-n", 40, "--temperature", 0)["text"]
        stop = full[15:19]
        text = self.succeed_json(
            "run", MODEL, "-p", PROMPT, "-n", 40, "--temperature", 0, "--stop", "@@", "--stop", stop
        )
        self.assertEqual(text["text"], full[: full.index(stop)])
        self.assertEqual(text["stop_reason"], "stop string")

    def test_streaming_never_splits_a_character(self):
        """Random tokens of a byte-fallback vocabulary; every write must be whole characters."""
        arguments = ["run", MODEL, "-p", "été 🙂 ", "-n", 150, "--seed", 3, "--temperature", 50,
                     "--top-k", 0, "--top-p", 1, "--ignore-eos"]  # fmt: skip
        read, write = os.pipe2(os.O_DIRECT)  # keeps apart what is written apart
        self.addCleanup(os.close, read)
        child = subprocess.Popen(
            [PROGRAM, *map(str, arguments)],
            stdout=write,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        pieces = list(iter(lambda: os.read(read, 65536), b""))
        self.assertEqual(child.wait(), 0)
        self.assertGreater(len(pieces), 50, "text comes as it is made")
        for piece in pieces:
            piece.decode()
        self.assertTrue(any(byte > 127 for piece in pieces[1:] for byte in piece))

    def test_empty_and_none(self):
        self.assertEqual(self.succeed("run", MODEL, "-p", "Hello", "-n", 0), "Hello\n")
        self.assertTrue(self.succeed("run", MODEL, "-p", "", "-n", 3))

    def test_folder_named_like_a_verb(self):
        copy = self.model_copy("run")
        self.assertIn("gla", self.succeed("inspect", copy.name, cwd=self.folder))


if __name__ == "__main__":
    unittest.main()
