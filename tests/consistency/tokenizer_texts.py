"""Texts to compare tokenizers on: prose, hand-picked Unicode, and fuzzed strings (fixed seeds)."""

import json
import random
from pathlib import Path

STRESS = [
    "", " ", "  ", "   x", "\n", "\n\n x", "a\r\n b", "\t\tx", "x ", "x  ", " \n \n ", "\r\r\n\n",
    "Hello, world!", "don'T I'LL we'VE it'S 'tis o'clock 'ſ x'ſy 'Re 'rE 'K",
    "1234567 12 3,456.78e-9", "a  b   c    d", " " * 24 + "a", " " * 25 + "a", " " * 60,
    "a" + " " * 23 + "\n" + " " * 5, "<s>x", "x<s>", "a<s>b</s>c", "</s> x", "<unk>", "<s",
    "<|endoftext|>", "x <|endoftext|> y", "<|endoftext|><|padding|>", "<0x0A>", "<0xE2>", "▁",
    "▁▁x", " ▁ x", "x▁y z", "▁ ▁", "你好，世界。これはテストです",
    "안녕하세요 각 각 ᄀ", "مرحبا بالعالم ١٢٣", "שלום עולם",
    "हिन्दी क्षत्रिय",
    "e\u0301 \u00e9 a\u0323\u0307 a\u0307\u0323 \u212b \ufb01 \u1e9b\u0323 q\u0307\u0323",
    "Zä̈̈lgo h̷̛͇e̵͖̾",
    "👍🏽👩‍👩‍👧‍👦🇩🇪 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ① ½ Ⅷ ³",
    "\u0000\u0001\u007f\u0085\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000x",
    "\u200b\u200c\u200d\ufeff\u180e\u00ad", "İSTANBUL ıi ẞß ſ K Å Ω",
    "naïve café — “quoted” ‘single’ …", "\ufffd\ufffe\uffff\U0010ffff",
    "\U00031350\U0002ebf0\ua7cb\U00010d50\U00016ea0", "a\u0345\u0334b\u089f\u0301",
    "\u1100\u1161\u11a8\u1100\u1161 \uac00\u11a8", "\U00011935\U00011930", "'", "''", "'s", "s's'",
    " 's", "'\n's", "word'll've", "\n'll", "-\n\n\n-", "!?\r\n\r\nx", "...\n \n.", " !", "  !",
    "\u00a0word", "\u3000。x", "x" * 500, "ab" * 400, "\n" * 300, " a" * 300, "é" * 200,
    "中" * 200, "👍" * 100, "<s>" * 50,
]

ALPHABETS = [
    "abcdefghijklmnop ", "ABCdef'st re ll  ", " \n\r\t", " \u00a0\u3000\n\u2028x", "0123456789 .,",
    "!?.-—'\"\n ", "aéèüñçß ", "e\u0301\u0323\u0307\u0334\u0345a ",
    "\u1100\u1161\u11a8가각 ", "中文字漢 。，", "👍🏽\u200d👩👧 a", "▁ ab",
    "<s>/|endoftxupang ", "'sStTmMdDlLrReEvVſ ", "ΑΒΓαβγ ЖЗи ", "ابت ١٢ ",
    "\U00031350\ua7cb1 x",
]
FRAGMENTS = [
    "the", " the", "The ", "ing", " of", "'s", "'LL", "\n\n", "  ", "   ", "<s>", "</s>", "<unk>",
    "<|endoftext|>", "<|im_start|>", "[X]", "[Y]", "[Z]", "foo", "Bar", "12", "345", "é",
    "e\u0301", "中", "▁", " ▁", "👍", "\u200d", "...", "!!", "\r\n", "\t", "a", "b", " ",
    "İ", "ﬁ", "①", "\u00a0", "-", "_", "ⓐ",
]


def fuzzed(count, seed):
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        kind = rng.random()
        length = rng.choice([1, 2, 3, 5, 8, 13, 30, 60])
        if kind < 0.35:
            alphabet = rng.choice(ALPHABETS)
            texts.append("".join(rng.choice(alphabet) for _ in range(length)))
        elif kind < 0.8:
            texts.append("".join(rng.choice(FRAGMENTS) for _ in range(length)))
        elif kind < 0.9:
            texts.append("".join(rng.choice(rng.choice(ALPHABETS)) for _ in range(length)))
        else:
            texts.append("".join(random_code_point(rng) for _ in range(length)))
    return texts


def random_code_point(rng):
    while True:
        limit = rng.choice([0x80, 0x250, 0x3000, 0x10000, 0x20000, 0x110000])
        code = rng.randrange(limit)
        if not 0xD800 <= code < 0xE000:
            return chr(code)


def prose(shared: Path, megabytes):
    """Documents of natural text and of task data, about this many megabytes."""
    data = shared / "data"
    documents = []
    for name in ("books_valid.txt", "wikitext2_raw_test.txt", "books_calib.txt"):
        text = (data / name).read_text(encoding="utf-8")
        documents.append(text[:100_000])
        documents += [text[i : i + 2000] for i in range(100_000, len(text), 2000)]
    for name in ("arc_easy", "piqa", "winogrande", "lambada_openai"):
        with open(data / f"{name}.jsonl", encoding="utf-8") as lines:
            documents += [json.dumps(json.loads(line), ensure_ascii=False) for line in lines]
    random.Random(7).shuffle(documents)
    budget = int(megabytes * 1e6)
    chosen = []
    for document in documents:
        if budget <= 0:
            break
        chosen.append(document)
        budget -= len(document)
    return chosen
