#!/usr/bin/env python3
"""Checks that every source of src/ includes only what its layer may, as docs/ARCHITECTURE.md says.

The layers, lowest first, are those of LAYERS below. A file may include its own layer and lower
ones, less the pairs in FORBIDDEN. A kernel's folder includes no other kernel's folder, but
for tests and benchmarks. Heavy
third-party headers stay out of our headers, and no code outside src/models asks which
architecture it is running.

Sources of one instruction set (x86_*, arm_*, CUDA) alone use intrinsics, themselves or through
simd_*.h headers; no other source reaches such a header, however many headers lie between. They
take nothing from C++ headers with inline functions: compiled with their flags, such a function
could replace the baseline's copy when the program is linked.
"""

import argparse
import pathlib
import re
import sys

import sources

LAYERS = [
    "base", "device", "tensor", "packing", "formats", "hub", "text", "kernels", "layers",
    "models", "runtime", "quantize", "eval", "report", "cli",
]  # fmt: skip
FORBIDDEN = {
    ("kernels", "formats"),
    ("kernels", "text"),
    ("text", "formats"),
    ("text", "hub"),
    ("kernels", "hub"),
    ("layers", "hub"),
    ("models", "hub"),
    ("quantize", "runtime"),
}

# Beside C headers, what instruction-set sources may include.
ISA_HEADERS = re.compile(
    r"^(.*\.h|cstdint|cstddef|cstring|cmath|cfloat|climits|type_traits|cuda/.*)$"
)
# Plain data that CUDA sources share with the host's side of the module.
CUDA_SUFFIXES = (".cu", ".cuh")
CUDA_HEADERS = {"device/cuda_launch.h", "device/cuda_runtime.h"}
INTRINSICS = re.compile(r"^(\w*intrin|arm_neon|arm_sve|arm_bf16|arm_fp16)\.h$")
NOT_IN_HEADERS = re.compile(
    r"^(nlohmann/json\.hpp|yaml-cpp/|CLI/|oneapi/dnnl/|dnnl|pcre2|utf8proc|curl/|openssl/|zip\.h$)"
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
USING_NAMESPACE = re.compile(r"\busing\s+namespace\b")
_ARCH = r"(?:arch|architecture|model_type)(?:_|_name)?"
ARCH_COMPARISON = re.compile(
    rf'\b{_ARCH}(?:\(\))?"?\s*\)*\s*[!=]=|[!=]=\s*[\w:.>()-]*\b{_ARCH}(?:\(\))?\s*[;)&|?]'
)


def is_isa_source(path):
    """Whether `path` is compiled for one instruction set: x86_*, arm_* or CUDA."""
    return path.name.startswith(("x86_", "arm_")) or path.suffix in CUDA_SUFFIXES


def is_simd_header(name):
    return name.startswith(("simd_", "x86_", "arm_")) and name.endswith((".h", ".inc"))


def is_test(path):
    name = path.stem
    return (
        name.endswith(("_test", "_bench", "_fuzz"))
        or name.startswith(("test_", "bench_"))
        or name == "testing"
    )


def kernel_of(parts):
    """The op whose folder src/kernels/<op>/ a path lies in, or None."""
    return parts[1] if len(parts) > 2 and parts[0] == "kernels" else None


def allowed(layer, other):
    """Whether a file of `layer` may include a file of `other`."""
    if (layer, other) in FORBIDDEN:
        return False
    return LAYERS.index(other) <= LAYERS.index(layer)


def check_project_include(path, name, root):
    """What is wrong with #include "name" in src/`path`, or None."""
    layer, other = path.parts[0], pathlib.PurePosixPath(name).parts
    if other[0] not in LAYERS:
        if is_test(path) and (root / "tests" / name).is_file():
            return None
        return f'"{name}" is in no layer; write the path from src/'
    if not allowed(layer, other[0]):
        return f'layer {layer} may not include layer {other[0]} ("{name}")'
    mine, theirs = kernel_of(path.parts), kernel_of(other)
    if mine and theirs and mine != theirs and not is_test(path):
        return f'kernel {mine} may not include kernel {theirs} ("{name}")'
    plain = path.suffix in CUDA_SUFFIXES and name in CUDA_HEADERS
    if is_isa_source(path) and other[0] != "kernels" and not plain:
        return f'an instruction-set source may not include layer {other[0]} ("{name}")'
    return None


def check_system_include(path, name):
    """What is wrong with #include <name> in src/`path`, or None."""
    isa = is_isa_source(path)
    if INTRINSICS.match(name) and not isa and not is_simd_header(path.name):
        return f"<{name}> belongs in x86_*, arm_* or CUDA sources"
    if isa and not ISA_HEADERS.match(name):
        return f"an instruction-set source may not include <{name}>"
    if path.suffix == ".h" and NOT_IN_HEADERS.match(name) and not is_test(path):
        return f"<{name}> may not be included by a header"
    return None


def check_file(path, text, root):
    """Findings in src/`path` (relative) as text lines."""
    findings = []

    def add(offset, message):
        findings.append(f"src/{path}:{sources.line_of(text, offset)}: {message}")

    if path.parts[0] not in LAYERS:
        return [f"src/{path}: '{path.parts[0]}' is no layer; add it to tools/check_layers.py"]
    code = sources.blank(text, keep_strings=True)
    for match in INCLUDE.finditer(code):
        quote, name = match.groups()
        wrong = (
            check_project_include(path, name, root)
            if quote == '"'
            else check_system_include(path, name)
        )
        if wrong:
            add(match.start(), wrong)
    if path.suffix == ".h":
        for match in USING_NAMESPACE.finditer(sources.blank(text)):
            add(match.start(), "using namespace in a header")
    if path.parts[0] != "models" and not is_test(path):
        for match in ARCH_COMPARISON.finditer(code):
            add(match.start(), "compares the architecture; only src/models may")
    return findings


def simd_reached(name, includes, seen):
    """The simd header that `name` is or includes, directly or not; None if there is none."""
    if is_simd_header(pathlib.PurePosixPath(name).name):
        return name
    for other in includes.get(name, []):
        if other not in seen:
            seen.add(other)
            found = simd_reached(other, includes, seen)
            if found:
                return found
    return None


def check_simd(includes):
    """Findings: baseline sources that reach a simd header. `includes` maps files to "" includes."""
    findings = []
    for name in sorted(includes):
        if name.endswith(".cc") and not is_isa_source(pathlib.PurePosixPath(name)):
            found = simd_reached(name, includes, set())
            if found:
                findings.append(f"src/{name}: reaches {found}, which is for x86_* and arm_* only")
    return findings


def check(root):
    """All findings below `root`/src, and the number of files looked at."""
    findings, includes = [], {}
    paths = sources.files(root, ["src"], {".h", ".cc", ".cu", ".cuh", ".inc"})
    for path in paths:
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(root / "src")
        findings += check_file(name, text, root)
        code = sources.blank(text, keep_strings=True)
        includes[name.as_posix()] = [m[2] for m in INCLUDE.finditer(code) if m[1] == '"']
    return findings + check_simd(includes), len(paths)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=pathlib.Path, default=here, help="the project's folder")
    findings, checked = check(parser.parse_args().root.resolve())
    return sources.report("layers", findings, checked)


if __name__ == "__main__":
    sys.exit(main())
