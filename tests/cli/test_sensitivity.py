"""aquatint sensitivity end to end: its numbers, its advice and its pictures."""

import os
import shutil
import unittest
import xml.etree.ElementTree

from support import MODEL, TEXT, ProgramTest

COMMON = ["sensitivity", MODEL, "--text", TEXT, "--max-tokens", 1024, "--window", 256]


class SensitivityTest(ProgramTest):
    def test_agrees_with_eval_of_what_quantize_writes(self):
        result = self.succeed_json(*COMMON, "--recipe", "w8a8-dynamic")
        self.assertEqual(
            sorted(unit["name"] for unit in result["units"]),
            ["role:mixer_gate", "role:mixer_in", "role:mixer_out", "role:mlp_in", "role:mlp_out"],
        )
        mlp_out = next(u for u in result["units"] if u["name"] == "role:mlp_out")
        recipe = self.write("one.yaml", (
            "weights: {bits: 8}\nactivations: {bits: 8}\n"
            "ignore: [role:mixer_in, role:mixer_gate, role:mixer_out, role:mlp_in]\n"
        ))  # fmt: skip
        for name, wanted in (("w8a8-dynamic", result["everything"]), (recipe, mlp_out["alone"])):
            out = self.folder / "out"
            self.succeed("quantize", MODEL, "--recipe", name, "--out", out, "--overwrite")
            measured = self.succeed_json(
                "eval", out, "--text", TEXT, "--max-tokens", 1024, "--window", 256,
                "--reference", MODEL, "--dtype", "float32",
            )["results"][0]["divergence"]  # fmt: skip
            self.assertAlmostEqual(measured["kld_mean"] / wanted["kld_mean"], 1, delta=1e-3)

    def test_table_advice_and_recipe_lines(self):
        text = self.succeed(*COMMON, "--recipe", "w4a16", "--leave-out")
        self.assertRegex(text, r"quantized +saved +KLD +± +share +KLD/MiB")
        self.assertIn("KLD of the rest", text)
        self.assertRegex(text, r"(?m)^everything +\d")
        self.assertIn("protocol gptq, window 256", text)
        self.assertTrue(text.splitlines()[-1].startswith("keep: "), text)
        self.assertLessEqual(max(map(len, text.splitlines())), 120)

    def test_recipe_lines_can_be_pasted(self):
        # The way down in four bits, all else in eight: what to keep is clear.
        rules = (
            "weights: {bits: 8}\noverrides:\n"
            "  - {match: 'name:*.2.mlp.down_proj', weights: {bits: 2, group_size: 64}}\n"
        )
        recipe = self.write("mine.yaml", rules)
        result = self.succeed_json(*COMMON, "--recipe", recipe, "--by", "tensor")
        self.assertEqual(result["keep"], ["model.layers.2.mlp.down_proj"])
        lines = result["overrides"].split("overrides:\n")[1]
        better = self.write("better.yaml", rules + lines)
        plan = self.succeed_json("quantize", MODEL, "--recipe", better, "--dry-run")
        kept = {t["name"] for t in plan["tensors"] if "kept by the recipe" in t["note"]}
        self.assertEqual(kept, {"model.layers.2.mlp.down_proj.weight"})

    def test_units(self):
        for by, count in (("block", 4), ("tensor", 32), ("role-block", 20)):
            result = self.succeed_json(*COMMON, "--recipe", "w8a16", "--by", by)
            self.assertEqual((result["by"], len(result["units"])), (by, count))
            saved = sum(u["bytes_before"] - u["bytes_after"] for u in result["units"])
            self.assertEqual(saved, result["bytes_before"] - result["bytes_after"])
            costs = [u["kld_per_mib_saved"] for u in result["units"]]
            self.assertEqual(costs, sorted(costs, reverse=True))

    def test_threads_do_not_matter(self):
        results = [
            self.succeed_json(*COMMON, "--recipe", "w4a8-dynamic", "--threads", n) for n in (1, 2)
        ]
        self.assertEqual(*results)

    def test_simulated_agrees_with_integer(self):
        results = [
            self.succeed_json(*COMMON, "--recipe", "w8a8-dynamic", *extra)
            for extra in ([], ["--simulate"])
        ]
        self.assertEqual([r["execution"] for r in results], ["integer", "simulated"])
        values = [r["everything"]["kld_mean"] for r in results]
        self.assertAlmostEqual(values[0] / values[1], 1, delta=0.1)

    def test_svg(self):
        picture = self.folder / "picture.svg"
        self.succeed(*COMMON, "--recipe", "w8a16", "--plot", picture)
        root = xml.etree.ElementTree.parse(picture).getroot()
        words = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("gla-demo with w8a16, by role", words)
        self.assertIn("role:mlp_out", words)
        self.assertEqual(self.contents(), ["picture.svg"])

    def test_png(self):
        picture = self.folder / "picture.png"
        arguments = [*COMMON, "--recipe", "w8a16", "--plot", picture]
        if shutil.which("rsvg-convert"):
            self.succeed(*arguments)
            self.assertTrue(picture.read_bytes().startswith(b"\x89PNG"))
            self.assertEqual(self.contents(), ["picture.png"])
        environment = {**os.environ, "PATH": str(self.folder)}
        self.fail_with(5, ["rsvg-convert", ".svg"], *arguments, env=environment)

    def test_errors(self):
        start = ["sensitivity", MODEL, "--recipe", "w8a16"]
        self.fail_with(2, "--text is required", *start)
        self.fail_with(2, ["--recipe is required"], "sensitivity", MODEL, "--text", TEXT)
        self.fail_with(2, ["--by", "role, block, tensor or role-block"], *start,
                       "--text", TEXT, "--by", "layer")  # fmt: skip
        self.fail_with(2, [".svg or .png"], *start, "--text", TEXT, "--plot", "picture.pdf")
        self.fail_with(6, "no folder", *start, "--text", TEXT, "--plot", "nowhere/picture.svg")
        self.fail_with(3, "did you mean 'w8a16'", "sensitivity", MODEL, "--recipe", "w8a61",
                       "--text", TEXT)  # fmt: skip
        self.fail_with(3, "nothing.txt", *start, "--text", "nothing.txt")
        self.fail_with(3, "nomodel", "sensitivity", "nomodel/", "--recipe", "w8a16", "--text", TEXT)
        self.fail_with(4, "empty.txt", *start, "--text", self.write("empty.txt", ""))
        self.fail_with(2, "too few", *start, "--text", self.write("short.txt", "a word"))
        out = self.folder / "out"
        self.succeed("quantize", MODEL, "--recipe", "w8a16", "--out", out)
        self.fail_with(5, "already quantized", "sensitivity", out, "--recipe", "w8a16",
                       "--text", TEXT)  # fmt: skip


if __name__ == "__main__":
    unittest.main()
