#!/usr/bin/env python3
"""Checks the sizes of sources: files to 800 lines, lines to 100 columns, functions to 120 lines.

Looks at C++, Python and shell sources in src, tests, tools, bench and python, prints the largest
files and functions, and exits with 1 when a limit is passed.
"""

import argparse
import ast
import pathlib
import re
import sys

import sources

FOLDERS = ["src", "tests", "tools", "bench", "python"]
CPP = {".h", ".cc", ".cu", ".cuh", ".inc"}
SUFFIXES = CPP | {".py", ".sh"}
MAX_LINES = 800
MAX_COLUMNS = 100
MAX_FUNCTION = 120
SHOWN = 5

# What may stand between a function's parameter list and its body, and what is no function at all.
_SIGNATURE = re.compile(
    r"([~\w:<>]+|operator\s*\S{1,3})\s*\([^;]*\)\s*"
    r"(const|noexcept|override|final|mutable|&|\s|->[^;{}]*|:[^;]*|requires[^;]*)*$",
    re.DOTALL,
)
_NO_FUNCTION = re.compile(r"^\s*(namespace|class|struct|enum|union|extern|concept)\b[^()]*$")
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_MACRO_TEST = re.compile(r"^\s*(TEST|TEST_F|TEST_P|TYPED_TEST|BENCHMARK)\w*\s*\(([^)]*)\)")


def _name(header):
    """A readable name for a function whose text before the body is `header`."""
    macro = _MACRO_TEST.match(header)
    if macro:
        return "".join(macro.group(2).split()).replace(",", ".")
    match = re.search(r"(operator\s*\S+?|[~\w:]+)\s*\(", header)
    return match.group(1) if match else "lambda"


def _is_function(header):
    if _NO_FUNCTION.match(header):
        return False
    if _SIGNATURE.search(header):
        return True
    return bool(re.search(r"\]\s*\{?$", header) and "[" in header and "=" in header)


def cpp_functions(text):
    """[(name, first line, lines)] of every outermost function body of a C++ text."""
    code = sources.blank(text)
    code = _DIRECTIVE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), code)
    found, stack, start = [], [], 0
    function = None  # (name, first line, depth of its body)
    for match in re.finditer(r"[{};]", code):
        mark, at = match.group(), match.start()
        if mark == "{":
            header = code[start:at]
            stack.append(mark)
            if function is None and _is_function(header):
                lead = len(header) - len(header.lstrip())
                first = sources.line_of(code, start + lead)
                function = (_name(header), first, len(stack))
        elif mark == "}" and stack:
            if function and len(stack) == function[2]:
                name, first, _ = function
                found.append((name, first, sources.line_of(code, at) - first + 1))
                function = None
            stack.pop()
        start = match.end()
    return found


def python_functions(text):
    """[(name, first line, lines)] of every function of a Python text."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return [(node.name, node.lineno, node.end_lineno - node.lineno + 1) for node in nodes]


def shell_functions(text):
    """[(name, first line, lines)] of every shell function: `name() {` up to `}` in column one."""
    pattern = re.compile(r"^(\w+)\(\) \{$.*?^\}$", re.MULTILINE | re.DOTALL)
    return [
        (m.group(1), sources.line_of(text, m.start()), m.group().count("\n") + 1)
        for m in pattern.finditer(text)
    ]


def functions_of(suffix, text):
    if suffix in CPP:
        return cpp_functions(text)
    return python_functions(text) if suffix == ".py" else shell_functions(text)


def check(root):
    """(findings, [(lines, file)], [(lines, place)]) of everything below `root`."""
    findings, sizes, functions = [], [], []
    for path in sources.files(root, FOLDERS, SUFFIXES):
        name = path.relative_to(root)
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        sizes.append((len(lines), str(name)))
        if len(lines) > MAX_LINES:
            findings.append(f"{name}: {len(lines)} lines, at most {MAX_LINES}")
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMNS:
                findings.append(f"{name}:{number}: {len(line)} columns, at most {MAX_COLUMNS}")
        for function, first, length in functions_of(path.suffix, text):
            functions.append((length, f"{name}:{first} {function}"))
            if length > MAX_FUNCTION:
                over = f"{length} lines, at most {MAX_FUNCTION}"
                findings.append(f"{name}:{first}: function {function} has {over}")
    return findings, sizes, functions


def print_largest(title, rows):
    print(f"{title}:")
    for lines, name in sorted(rows, reverse=True)[:SHOWN]:
        print(f"  {lines:4d} lines  {name}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=pathlib.Path, default=here, help="the project's folder")
    findings, sizes, functions = check(parser.parse_args().root.resolve())
    print_largest("largest files", sizes)
    print_largest("longest functions", functions)
    return sources.report("sizes", findings, len(sizes))


if __name__ == "__main__":
    sys.exit(main())
