"""Help, version, completion and the exit codes of misspelt command lines."""

import re
import subprocess
import unittest

from support import MODEL, PROGRAM, ROOT, VERBS, ProgramTest, aquatint


def long_options(text):
    return re.findall(r"--[a-z][a-z0-9-]*", text)


class HelpTest(ProgramTest):
    def test_without_arguments_it_shows_help(self):
        text = self.succeed()
        self.assertEqual(text, self.succeed("--help"))
        for verb in VERBS:
            self.assertRegex(text, rf"(?m)^  {verb} +\w")
        self.assertIn("Exit codes", text)

    def test_every_verb_has_examples(self):
        for verb in VERBS:
            with self.subTest(verb):
                text = self.succeed(verb, "--help")
                self.assertRegex(text, rf"(?s)Examples?:\n.*aquatint {verb}")
                self.assertEqual(text, self.succeed(verb, "-h"))

    def test_every_option_has_a_description(self):
        for verb in [None, *VERBS]:
            text = self.succeed(*([verb] if verb else []), "--help")
            section = text.split("Options, with their defaults in brackets:\n")[1].split("\n\n")[0]
            lines = section.splitlines()
            for number, line in enumerate(lines):
                if not line.startswith("  -"):
                    continue
                with self.subTest(verb=verb, line=line):
                    below = lines[number + 1] if number + 1 < len(lines) else ""
                    described = re.match(r"  -\S+( \S+)*  +\w", line) or re.match(
                        r" {20,}\w", below
                    )
                    self.assertTrue(described)

    def test_lines_fit_a_terminal(self):
        for verb in VERBS:
            for line in (
                self.succeed(verb, "--help").split("Options")[1].split("\n\n")[0].splitlines()
            ):
                self.assertLessEqual(len(line), 100, line)

    def test_options_used_in_examples_exist(self):
        for verb in VERBS:
            text = self.succeed(verb, "--help")
            declared = set(long_options(text.split("Options, with")[1].split("\n\n")[0]))
            for example in re.findall(rf"(?m)^  .*aquatint {verb} .*$", text):
                self.assertLessEqual(set(long_options(example)), declared, example)

    def test_version(self):
        version = re.search(
            r"project\(aquatint VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text()
        )
        self.assertEqual(self.succeed("--version"), f"aquatint {version[1]}\n")

    def test_common_options_are_the_same_everywhere(self):
        for verb in set(VERBS) - {"completion"}:
            text = self.succeed(verb, "--help")
            self.assertIn("-q, --quiet", text)
            if verb not in ("synth", "logits"):
                self.assertIn("--json FILE", text)
            if verb not in ("inspect", "pull", "tokenize"):
                self.assertIn("--threads N", text)


class MistakesTest(ProgramTest):
    def test_unknown_verb(self):
        self.fail_with(2, ["'quantise'", "did you mean 'quantize'?"], "quantise")

    def test_unknown_option(self):
        self.fail_with(
            2, ["'--promt'", "did you mean '--prompt'?", "run --help"], "run", MODEL, "--promt", "x"
        )

    def test_missing_arguments(self):
        self.fail_with(2, "MODEL is required", "run")
        self.fail_with(2, "--recipe is required", "quantize", MODEL)
        self.fail_with(2, "--out", "quantize", MODEL, "--recipe", "w4a16")
        self.fail_with(2, "--text is required", "compare", MODEL, MODEL)
        self.fail_with(2, "--prompt", "--prompt")

    def test_extra_argument(self):
        self.fail_with(2, "unexpected argument 'more'", "inspect", MODEL, "more")

    def test_quiet_goes_anywhere(self):
        for arguments in (
            ("-q", "run", MODEL), ("run", "-q", MODEL), ("run", MODEL, "--quiet"),
        ):  # fmt: skip
            done = aquatint(*arguments, "-p", "Once", "-n", 3, "--temperature", 0)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
        done = aquatint("run", MODEL, "-p", "Once", "-n", 3)
        self.assertIn(b"tokens/s", done.stderr)
        self.assertNotIn(b"\x1b", done.stderr)  # no progress but on a terminal


class CompletionTest(ProgramTest):
    def script(self):
        return self.write("completion.bash", self.succeed("completion", "bash"))

    def complete(self, *words):
        """What bash offers for the last of `words`."""
        line = " ".join(f"'{word}'" for word in words)
        code = (
            f"source '{self.script()}'\nCOMP_WORDS=({line})\nCOMP_CWORD={len(words) - 1}\n"
            '_aquatint\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(
            ["bash", "-c", code], capture_output=True, check=True, cwd=self.folder
        )
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode().split()

    def test_syntax(self):
        subprocess.run(["bash", "-n", self.script()], check=True)
        self.assertIn("bashcompinit", self.succeed("completion", "zsh"))
        self.fail_with(2, ["fish", "bash or zsh"], "completion", "fish")

    def test_completes_verbs(self):
        self.assertEqual(
            sorted(self.complete("aquatint", "")),
            sorted([*VERBS, "--help", "--quiet", "--version"]),
        )
        self.assertEqual(self.complete("aquatint", "qu"), ["quantize"])

    def test_completes_options_and_files(self):
        self.write("model.txt", "x")
        self.assertEqual(self.complete("aquatint", "run", "--max"), ["--max-tokens"])
        self.assertIn("--quiet", self.complete("aquatint", "run", "--q"))
        self.assertEqual(self.complete("aquatint", "-q", "eval", "--proto"), ["--protocol"])
        self.assertEqual(self.complete("aquatint", "inspect", "mod"), ["model.txt"])

    def test_completes_values(self):
        self.assertEqual(
            self.complete("aquatint", "quantize", "m", "--recipe", "w8a8-dynamic-"),
            ["w8a8-dynamic-all"],
        )
        self.assertEqual(
            self.complete("aquatint", "eval", "--protocol", "l"), ["lm-eval", "llama.cpp"]
        )
        self.assertEqual(
            self.complete("aquatint", "eval", "m", "--tasks", "wikitext2-g"), ["wikitext2-gptq"]
        )
        self.assertEqual(self.complete("aquatint", "completion", ""), ["bash", "zsh"])

    def test_covers_every_option(self):
        for verb in VERBS:
            options = self.succeed(verb, "--help").split("Options, with")[1].split("\n\n")[0]
            wanted = set(re.findall(r"(?m)^  (?:-\w, )?(--[a-z-]+)", options))
            self.assertEqual(set(self.complete("aquatint", verb, "--")), wanted, verb)


if __name__ == "__main__":
    print(f"testing {PROGRAM}")
    unittest.main()
