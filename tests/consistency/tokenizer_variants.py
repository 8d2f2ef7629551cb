"""Tokenizers made by changing parts of existing ones, so that every component is compared."""

import copy
import json
from pathlib import Path

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
# Not one of the known patterns, so that the general engine runs it.
GENERAL = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}{1,2}|[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+|(?:)"
CASES = r"[\p{Lu}\p{M}]+(?=\p{Lu}|\b)|\p{Lu}?[\p{Ll}\p{M}]+|\d+|\h|\w+|\W|^$"


def byte_level(prefix=False, regex=False, trim=True):
    flags = {"add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex}
    return {"type": "ByteLevel", **flags}


def split(regex, behavior="Isolated", invert=False):
    pattern = {"Regex": regex}
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def split_string(text, behavior):
    return {"type": "Split", "pattern": {"String": text}, "behavior": behavior, "invert": False}


def sequence(kind, *parts):
    return {"type": "Sequence", kind: list(parts)}


def template(token, token_id):
    before = {"SpecialToken": {"id": token, "type_id": 0}}
    single = [before, {"Sequence": {"id": "A", "type_id": 0}}]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [token_id], "tokens": [token]}},
    }


def metaspace(scheme, split_words):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split_words}


def added(content, **flags):
    token = {"id": 0, "content": content, "single_word": False, "lstrip": False, "rstrip": False}
    return {**token, "normalized": False, "special": False, **flags}


def with_added(spec, *tokens):
    """Gives the tokens the ids the reference will give them."""
    vocab = spec["model"]["vocab"]
    known = {t["content"] for t in spec["added_tokens"]}
    next_id = len(vocab) + sum(1 for c in known if c not in vocab)
    for token in tokens:
        content = token["content"]
        if content in vocab:
            token["id"] = vocab[content]
        else:
            token["id"], next_id = next_id, next_id + 1
        spec["added_tokens"].append(token)
    return spec


FLAGGED = (
    ("[X]", {"lstrip": True, "special": True}),
    ("[Y]", {"rstrip": True, "normalized": True}),
    ("foo", {"single_word": True, "normalized": True}),
    ("[Z]", {"lstrip": True, "rstrip": True, "single_word": True}),
    ("Bar", {"normalized": True}),
    ("[X][Y]", {}),
    ("the", {"single_word": True}),
)


def load(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def existing(shared: Path):
    seen = {}
    for path in sorted(shared.glob("models/*/tokenizer.json")) + sorted(
        shared.glob("data/tokenizers/*/tokenizer.json")
    ):
        text = path.read_text(encoding="utf-8")
        if text not in seen.values():
            seen[path.parent.name] = text
    return {name: json.loads(text) for name, text in seen.items()}


def byte_variants(base):
    def make(**parts):
        return {**copy.deepcopy(base), **parts}

    llama3 = make(
        pre_tokenizer=sequence("pretokenizers", split(LLAMA3), byte_level()),
        post_processor=sequence(
            "processors", byte_level(prefix=True), template("<|endoftext|>", 0)
        ),
    )
    llama3["model"]["ignore_merges"] = True
    yield "llama3-style", llama3
    yield "qwen2-style", with_added(
        make(
            normalizer={"type": "NFC"},
            pre_tokenizer=sequence("pretokenizers", split(QWEN2), byte_level()),
        ),
        added("<|im_start|>", special=True),
    )
    yield "gpt2-prefix-flags", with_added(
        make(
            pre_tokenizer=byte_level(prefix=True, regex=True),
            post_processor=byte_level(prefix=False),
        ),
        *(added(content, **flags) for content, flags in FLAGGED),
    )
    yield "general-regex", make(
        pre_tokenizer=sequence("pretokenizers", split(GENERAL), byte_level())
    )
    yield "case-regex", make(
        pre_tokenizer=sequence(
            "pretokenizers", split(CASES, "MergedWithNext"), byte_level(trim=False)
        ),
        post_processor=None,
    )
    yield "digits-strings", make(
        pre_tokenizer=sequence(
            "pretokenizers",
            {"type": "Digits", "individual_digits": True},
            split_string(".", "MergedWithPrevious"),
            split(r"\s", "Contiguous"),
            byte_level(),
        ),
    )
    yield "removed", make(
        pre_tokenizer=sequence(
            "pretokenizers",
            split(LLAMA3, "Removed", True),
            {"type": "Digits", "individual_digits": False},
            {"type": "WhitespaceSplit"},
            byte_level(prefix=True, regex=True),
        ),
    )
    nfd = {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}
    yield "nfd-lower", with_added(
        make(normalizer=sequence("normalizers", *nfd)),
        *(added(c, **flags) for c, flags in FLAGGED),
    )
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    yield "nfkc-strip", make(normalizer=sequence("normalizers", {"type": "NFKC"}, strip))
    pattern = {"Regex": r"\s{2,}|[\p{M}©]"}
    replace = {"type": "Replace", "pattern": pattern, "content": "::"}
    yield "nfkd-replace", make(normalizer=sequence("normalizers", {"type": "NFKD"}, replace))
    yield "byte-normalizer", make(normalizer={"type": "ByteLevel"}, pre_tokenizer=None)
    legacy = make(decoder=None)
    legacy["model"]["merges"] = ["#version: 0.2"] + [" ".join(m) for m in legacy["model"]["merges"]]
    yield "legacy-merges", legacy


def sentencepiece_variants(base):
    def make(**parts):
        return {**copy.deepcopy(base), **parts}

    for scheme in ("first", "always", "never"):
        for split_words in (False, True):
            part = metaspace(scheme, split_words)
            yield f"metaspace-{scheme}-{split_words}", make(
                normalizer=None,
                pre_tokenizer=part,
                decoder=part if split_words else base["decoder"],
            )
    lower = {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": False}
    yield "metaspace-normalized", with_added(
        make(normalizer=sequence("normalizers", *lower), pre_tokenizer=metaspace("first", False)),
        *(added(c, **flags) for c, flags in FLAGGED),
    )
    yield "llama-flags", with_added(make(), *(added(c, **flags) for c, flags in FLAGGED))
    unknowns = make()
    unknowns["model"].update(byte_fallback=False, fuse_unk=True)
    yield "fused-unknowns", unknowns
    unfused = make()
    unfused["model"].update(byte_fallback=False, fuse_unk=False)
    yield "unknowns", unfused
    whole = make()
    whole["model"]["ignore_merges"] = True
    yield "llama-whole-words", whole


def variants(shared: Path):
    """Name and specification of each made-up tokenizer."""
    yield from byte_variants(load(shared / "models/gpt2/tokenizer.json"))
    yield from sentencepiece_variants(load(shared / "models/llama/tokenizer.json"))
