"""What the checks of this folder share: C++ text without its comments and literals, and findings.

Blanking keeps every line where it was, so that line numbers stay true.
"""

import pathlib
import re

_TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<raw>(?:u8|[uUL])?R"(?P<mark>[^()\s\\"]{0,16})\(.*?\)(?P=mark)")
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<number>\b\d(?:'?[\w.])*)
  | (?P<char>'(?:\\.|[^'\\\n])+')
    """,
    re.VERBOSE | re.DOTALL,
)


def blank(text, keep_strings=False):
    """`text` with comments and, unless told otherwise, string contents replaced by spaces."""

    def replace(match):
        if match.lastgroup == "number":
            return match.group()
        if keep_strings and match.lastgroup != "comment":
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())

    return _TOKEN.sub(replace, text)


def line_of(text, offset):
    """Line number, from 1, of a position in `text`."""
    return text.count("\n", 0, offset) + 1


def files(root, folders, suffixes):
    """Paths below `folders` of `root` that end in one of `suffixes`, in a fixed order."""
    found = []
    for folder in folders:
        base = pathlib.Path(root) / folder
        found += [p for p in base.rglob("*") if p.suffix in suffixes and p.is_file()]
    return sorted(found)


def report(title, findings, checked):
    """Prints findings and a closing line; the exit status of the check."""
    for finding in findings:
        print(finding)
    if findings:
        print(f"{title}: {len(findings)} violations in {checked} files")
        return 1
    print(f"{title}: {checked} files, no violations")
    return 0
