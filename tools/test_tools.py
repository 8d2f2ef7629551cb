#!/usr/bin/env python3
"""Self-tests of the checks: each rule is broken once in a small tree and must be found."""

import pathlib
import tempfile
import unittest

import check_layers
import check_sizes
import sources


def tree(folder, contents):
    """Writes {path: text} below `folder` and returns it as a path."""
    root = pathlib.Path(folder)
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


class LayersTest(unittest.TestCase):
    def findings(self, contents):
        with tempfile.TemporaryDirectory() as folder:
            return check_layers.check(tree(folder, contents))[0]

    def expect_one(self, name, text, words):
        found = self.findings({name: text})
        self.assertEqual(len(found), 1, found)
        self.assertIn(words, found[0])

    def test_lower_layers_are_allowed(self):
        text = '#include "base/error.h"\n#include <vector>\n#include "kernels/gla/gla.h"\n'
        self.assertEqual(self.findings({"src/layers/a.cc": text}), [])

    def test_upper_layer(self):
        self.expect_one("src/tensor/a.cc", '#include "models/m.h"\n', "layer models")

    def test_siblings(self):
        self.expect_one("src/text/a.cc", '#include "formats/f.h"\n', "layer formats")
        self.expect_one("src/kernels/k/k.cc", '#include "text/t.h"\n', "layer text")
        self.expect_one("src/quantize/q.cc", '#include "runtime/r.h"\n', "layer runtime")

    def test_other_kernel(self):
        self.expect_one("src/kernels/gla/a.cc", '#include "kernels/conv/c.h"\n', "kernel conv")
        both = '#include "kernels/conv/c.h"\n'
        self.assertEqual(self.findings({"src/kernels/gla/gla_bench.cc": both}), [])
        shared = '#include "kernels/common.h"\n#include "kernels/gla/gla.h"\n'
        self.assertEqual(self.findings({"src/kernels/gla/a.cc": shared}), [])

    def test_path_outside_src(self):
        self.expect_one("src/base/a.cc", '\n#include "error.h"\n', "src/base/a.cc:2:")
        helper = {"src/base/a_test.cc": '#include "testing/t.h"\n', "tests/testing/t.h": "\n"}
        self.assertEqual(self.findings(helper), [])

    def test_unknown_layer(self):
        self.expect_one("src/misc/a.cc", "", "no layer")

    def test_intrinsics(self):
        self.expect_one("src/kernels/gla/gla.cc", "#include <immintrin.h>\n", "immintrin.h")
        text = "#include <immintrin.h>\n#include <cstdint>\n"
        self.assertEqual(self.findings({"src/kernels/gla/x86_avx2.cc": text}), [])
        self.assertEqual(self.findings({"src/kernels/simd_avx2.h": text}), [])

    def test_simd_headers(self):
        text = '#include "kernels/simd_avx2.h"\n'
        self.assertEqual(self.findings({"src/kernels/gla/x86_avx2.cc": text}), [])
        self.assertEqual(self.findings({"src/kernels/gla/gla_body.h": text}), [])
        self.expect_one("src/kernels/gla/gla.cc", text, "simd_avx2.h")
        body = '#include "kernels/gla/gla_body.h"\n'
        found = self.findings({"src/kernels/gla/gla_body.h": text, "src/kernels/gla/gla.cc": body})
        self.assertEqual(len(found), 1, found)

    def test_isa_sources_take_no_inline_functions(self):
        self.expect_one("src/kernels/gla/x86_avx2.cc", "#include <algorithm>\n", "<algorithm>")
        self.expect_one("src/kernels/gla/x86_avx2.cc", '#include "base/error.h"\n', "layer base")

    def test_heavy_headers(self):
        self.expect_one("src/formats/f.h", "#include <nlohmann/json.hpp>\n", "header")
        light = {"src/formats/f.h": "#include <nlohmann/json_fwd.hpp>\n"}
        self.assertEqual(self.findings(light), [])
        self.assertEqual(self.findings({"src/formats/f.cc": "#include <nlohmann/json.hpp>\n"}), [])

    def test_using_namespace(self):
        self.expect_one("src/base/a.h", "using namespace std;\n", "using namespace")
        self.assertEqual(self.findings({"src/base/a.h": "// using namespace std;\n"}), [])

    def test_architecture_comparison(self):
        for line in (
            'if (config.arch == "gla") {}',
            'if (config.string("model_type") == "gla") {}',
            'if ("gla" != model.architecture()) {}',
            "if (kGla == model_type) {}",
        ):
            self.expect_one("src/runtime/a.cc", line, "architecture")
            self.assertEqual(self.findings({"src/models/a.cc": line}), [])
        comment = "// arch == gla\nint search = 1;"
        self.assertEqual(self.findings({"src/runtime/a.cc": comment}), [])

    def test_commented_include(self):
        self.assertEqual(self.findings({"src/base/a.cc": '// #include "models/m.h"\n'}), [])


class SizesTest(unittest.TestCase):
    def test_functions_are_found(self):
        text = (
            "namespace a {\nstruct S {\n  S() : x_{1} {\n  }\n"
            "  int get() const { return x_; }\n};\n"
            "template <typename T>\nstd::vector<int> f(int a,\n    int b) noexcept {\n"
            "  if (a) {\n    const char* s = R\"({{{)\";\n  }\n  char c = '{';\n}\n"
            "TEST(Suite, Case) {\n}\nint table[] = {1,\n 2};\n"
            "auto g = [](int x) {\n  return x;\n};\n}\n"
        )
        found = {name: (first, lines) for name, first, lines in check_sizes.cpp_functions(text)}
        self.assertEqual(found["get"], (5, 1))
        self.assertEqual(found["f"], (7, 8))
        self.assertEqual(found["Suite.Case"], (15, 2))
        self.assertNotIn("table", found)

    def test_limits(self):
        body = "  x();\n"
        contents = {
            "src/long.cc": "\n" * 801,
            "src/wide.cc": "//" + "x" * 99 + "\n",
            "src/fit.cc": "//" + "é" * 98 + "\nvoid ok() {\n" + body * 118 + "}\n",
            "src/deep.cc": "namespace {\nvoid big() {\n" + body * 119 + "}\n}\n",
            "tools/big.py": "def big():\n" + "    pass\n" * 120,
            "tools/big.sh": "big() {\n" + body * 119 + "}\n",
        }
        with tempfile.TemporaryDirectory() as folder:
            findings = check_sizes.check(tree(folder, contents))[0]
        self.assertEqual(
            findings,
            [
                "src/deep.cc:2: function big has 121 lines, at most 120",
                "src/long.cc: 801 lines, at most 800",
                "src/wide.cc:1: 101 columns, at most 100",
                "tools/big.py:1: function big has 121 lines, at most 120",
                "tools/big.sh:1: function big has 121 lines, at most 120",
            ],
        )


class SourcesTest(unittest.TestCase):
    def test_blank_keeps_lines(self):
        text = "int a = 1'000; // x {\n/* {\n } */ auto s = \"{\\\"\"; auto r = R\"q(\n{)q\";\n"
        blanked = sources.blank(text)
        self.assertEqual(blanked.count("\n"), text.count("\n"))
        self.assertNotIn("{", blanked)
        self.assertIn("1'000", blanked)
        self.assertIn('"{', sources.blank(text, keep_strings=True))


if __name__ == "__main__":
    unittest.main()
