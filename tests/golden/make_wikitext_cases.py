#!/usr/bin/env python3
"""Writes wikitext_cases.json: what the WikiText detokenizer and the word count must give.

An independent re-implementation with regular expressions of lm-evaluation-harness' definitions, on
hand-picked and random strings; with --pages, also checksums of all pages of a wikitext.jsonl.
"""

import argparse
import json
import pathlib
import random
import re
import zlib

HAND_PICKED = [
    "",
    " ",
    "plain words",
    " = Robert Boulter = \n \n Robert Boulter is an English film , television and theatre actor . ",
    " = = Career = = \n \n = = = 2000 – 2005 = = = \n = = = = Notes = = = = \n",
    "the actors ' role , Teddy 's Story ; it 's \" quoted text \" and ' single ' .",
    "a guest @-@ starring role , 1 @,@ 000 at 3 @.@ 5 % ( about 20 ° C ) [ 1 ] { x }",
    "nested ( ( a ) b ) ) ( unmatched",
    "( spans \n two lines ) [\u00a0\u2003 wide \x85\x1c] \" open",
    "/' 5/ and /' 7/' 8/ and /' x/ and /' 5",
    "why ? because ! no : yes . N is N ; x N N y",
    "( ) [ ] { } \" \" ' '",
    "tail \n \n \n ",
    "\u3000ideographic\u3000space\u1680\u2028\u2029\u202f\u205f\u200b\ufeffno",
]
PIECES = (
    ["s", " ", " ", " ", "\n", "'", "\"", "(", ")", "[", "]", "{", "}", "=", "= ", "@-@", "@,@"]
    + ["@.@", ".", ",", ":", ";", "!", "?", "N", "°", "/' 3/", "é", "漢", "\u00a0", "\x1c", "\x85"]
    + ["word", "12", "\u2003", "\u3000", "\t", "\r"]
)
LITERALS = [(" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", ".")] + [
    (f" {mark} ", f"{mark} ") for mark in ":;.!?,"
]
FINAL = [
    ("= = = =", "===="),
    ("= = =", "==="),
    ("= =", "=="),
    (" ° ", "°"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
]


def detokenize(page):
    text = re.sub(r"/' [0-9]/", lambda _: "/'[0-9]/", page.replace("s '", "s'"))
    for old, new in LITERALS:
        text = text.replace(old, new)
    for opening, closing in ["()", "[]", "{}", '""', "''"]:
        inner = rf"{re.escape(opening)}\s*([^{re.escape(closing)}]*?)\s*{re.escape(closing)}"
        text = re.sub(inner, lambda m, o=opening, c=closing: o + m.group(1) + c, text)
    for old, new in FINAL:
        text = text.replace(old, new)
    return text


def words(page):
    return len(re.split(r"\s+", page))


def page_row(page):
    text = detokenize(page).encode()
    size = len(page.encode())
    return {"words": words(page), "bytes": size, "text_bytes": len(text), "crc32": zlib.crc32(text)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=pathlib.Path, help="wikitext.jsonl")
    arguments = parser.parse_args()
    generator = random.Random(7)
    texts = HAND_PICKED + [
        "".join(generator.choices(PIECES, k=generator.randint(1, 40))) for _ in range(300)
    ]
    cases = [{"page": t, "text": detokenize(t), "words": words(t)} for t in texts]
    pages = []
    if arguments.pages:
        lines = arguments.pages.read_text(encoding="utf-8").splitlines()
        pages = [page_row(json.loads(line)["page"]) for line in lines]
    rows = [f'"{name}": [\n' + ",\n".join(map(json.dumps, values)) + "\n]"
            for name, values in [("cases", cases), ("pages", pages)]]
    out = pathlib.Path(__file__).with_name("wikitext_cases.json")
    out.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
