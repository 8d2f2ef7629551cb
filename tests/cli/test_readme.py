"""Runs the commands and recipes of README.md and of the guide as they are written."""

import json
import os
import re
import subprocess
import unittest

from support import MODEL, PROGRAM, ROOT, VERBS, ProgramTest


def blocks(path, language="sh"):
    """The blocks of a page that are in a language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"))


class ReadmeTest(ProgramTest):
    def run_page(self, page):
        """All blocks of the page in one shell, in a folder with what a clone has after a build."""
        for name in ("assets", "bench"):
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / "build/release").mkdir(parents=True)
        (self.folder / "build/release/aquatint").symlink_to(PROGRAM)
        script = "set -euo pipefail\n" + "".join(blocks(ROOT / page))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=600,
        )
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout.decode()

    def test_readme(self):
        text = self.run_page("README.md")
        self.assertIn("It was a dark night, and", text)
        self.assertTrue((self.folder / "out/logits.safetensors").exists())

    def test_guide(self):
        self.run_page("docs/guide/cli.md")

    def test_recipes(self):
        page = ROOT / "docs/guide/recipes.md"
        recipes = blocks(page, "yaml")
        self.assertGreater(len(recipes), 3)
        for recipe in recipes:
            file = self.write("mine.yaml", recipe)
            plan = self.succeed_json("quantize", MODEL, "--recipe", file, "--dry-run")
            self.assertLess(plan["bytes_after"], plan["bytes_before"], recipe)
        self.write("mine.yaml", recipes[0])
        self.run_page(page)
        self.assertTrue((self.folder / "out/mine/config.json").exists())

    def test_guide_names_every_recipe_and_role(self):
        guide = (ROOT / "docs/guide/recipes.md").read_text(encoding="utf-8")
        for file in (ROOT / "assets/recipes").glob("*.yaml"):
            self.assertIn(f"| `{file.stem}` |", guide)
        inspected = json.loads(self.succeed("inspect", MODEL, "--json", "-"))
        for role in inspected["roles"]:
            self.assertRegex(guide, rf"(?m)^\|[^|]*`{role}`")

    def test_readme_shows_every_verb(self):
        # Also in blocks that need a network, which are shown and not run.
        text = "".join(blocks(ROOT / "README.md", language=r"\w*"))
        for verb in VERBS:
            self.assertRegex(text, rf"aquatint {verb}\b")

    def test_guide_explains_every_verb_and_option(self):
        guide = (ROOT / "docs/guide/cli.md").read_text(encoding="utf-8")
        for verb in VERBS:
            self.assertIn(f"\n## {verb}\n", guide)
            section = guide.split(f"\n## {verb}\n")[1].split("\n## ")[0]
            done = subprocess.run([PROGRAM, verb, "--help"], capture_output=True, check=True)
            options = set(re.findall(r"(?m)^  (?:-\w, )?(--[a-z-]+)", done.stdout.decode()))
            shared = set(re.findall(r"--[a-z-]+", guide.split("\n## quantize\n")[0]))
            for option in options - {"--help"}:
                self.assertTrue(option in section or option in shared, f"{verb} {option}")

    def test_two_setup_commands(self):
        text = (
            (ROOT / "README.md").read_text(encoding="utf-8").split("## Set up")[1].split("## ")[0]
        )
        self.assertEqual(re.findall(r"(?m)^\./dev \w+$", text), ["./dev demo", "./dev test"])
        for command in ("demo", "test", "build"):
            self.assertIn(f"cmd_{command}()", (ROOT / "dev").read_text(encoding="utf-8"))
        self.assertTrue(os.access(ROOT / "dev", os.X_OK))


if __name__ == "__main__":
    unittest.main()
