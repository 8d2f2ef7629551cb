"""Generating text: the same seed gives the same text, which streams in whole characters."""

import json
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

    def test_prompt_cache_saves_the_prompt(self):
        cache = self.folder / "prompt.cache"
        arguments = ["-n", 10, "--temperature", 0]
        for text in (PROMPT, PROMPT, PROMPT + " went out"):
            plain = self.succeed_json("run", MODEL, "-p", text, *arguments)
            cached = self.succeed_json(
                "run", MODEL, "-p", text, *arguments, "--prompt-cache", cache
            )
            self.assertEqual(cached["tokens"], plain["tokens"])
        self.assertGreater(cached["remembered_tokens"], 5)
        self.fail_with(
            4, "of another model", "run", self.quantized("w4a16"), "-p", PROMPT, "--prompt-cache",
            cache
        )  # fmt: skip
        cache.write_bytes(cache.read_bytes()[:-7])
        self.fail_with(4, str(cache), "run", MODEL, "-p", PROMPT, "--prompt-cache", cache)

    def test_conversation(self):
        arguments = ["run", MODEL, "-n", 8, "--temperature", 0, "--ignore-eos"]
        chat = [*arguments, "--chat-template", "zephyr", "--system", "Be brief."]
        both = json.loads(self.succeed(*chat, "--json", "-", input=b"Who are you?\n\nWhy?\n"))
        self.assertEqual([answer["prompt"] for answer in both], ["Who are you?", "Why?"])
        text = "<|system|>\nBe brief.</s>\n<|user|>\nWho are you?</s>\n<|assistant|>\n"
        reference = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
        first = reference.encode(text, add_special_tokens=False).ids
        self.assertEqual(both[0]["prompt_tokens"], first)
        self.assertEqual(both[0]["text"] + "\n", self.succeed(*chat, "-p", "Who are you?"))
        # The second message is asked with the first and its answer before it.
        text += both[0]["text"] + "</s>\n<|user|>\nWhy?</s>\n<|assistant|>\n"
        second = reference.encode(text, add_special_tokens=False).ids
        self.assertEqual(both[1]["prompt_tokens"], second)
        self.assertGreaterEqual(both[1]["remembered_tokens"], len(first) - 1)
        self.fail_with(5, "has no chat template", *arguments, "--chat", "-p", "Hello")
        self.fail_with(2, "--system needs --chat", *arguments, "--system", "x", "-p", "Hello")

    def test_many_prompts(self):
        prompts = ["It was", PROMPT, "Call me", "The sea", "A"]
        lines = self.folder / "prompts.txt"
        lines.write_text("\n".join(prompts) + "\n")
        records = self.folder / "prompts.jsonl"
        records.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
        arguments = ["run", MODEL, "-n", 12, "--seed", 5]
        outputs = [
            self.succeed(*arguments, "--prompts", file, "--batch", batch)
            for file, batch in ((lines, 1), (lines, 2), (records, 16))
        ]
        for output in outputs:
            answers = [json.loads(line) for line in output.splitlines()]
            self.assertEqual([answer["prompt"] for answer in answers], prompts)
            for i, answer in enumerate(answers):
                alone = self.succeed_json(
                    "run", MODEL, "-n", 12, "--seed", 5 + i, "-p", prompts[i]
                )
                self.assertEqual(answer["tokens"], alone["tokens"])
        self.fail_with(2, "exclude each other", *arguments, "--prompts", lines, "-p", "x")
        lines.write_text("\n")
        self.fail_with(4, "has no prompts", *arguments, "--prompts", lines)

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
