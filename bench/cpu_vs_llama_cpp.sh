#!/usr/bin/env bash
# Speed of models on this processor beside llama.cpp's, with the same weights and threads, in turns:
# bfloat16, W8A8 and W4A16 against BF16, Q8_0 and Q4_0, prefill and decode at batch 1. Writes one
# record a model to bench/results/. What is compared with what, and how: bench/cpu_vs_llama_cpp.py.
#
#   LLAMA_CPP=FOLDER bench/cpu_vs_llama_cpp.sh MODEL_OR_SHAPE…
#
# A .json file is a shape: both sides get the same random weights. About five minutes for a shape of
# 1.3 billion parameters on two cores, half a minute for a model of some million; 10 GB in TMPDIR.
#
# Environment: AQUATINT, the program (build/release/aquatint); LLAMA_CPP, the folder of llama-bench
# and llama-quantize; PYTHON, one that has numpy and gguf (python3); W8A8 and W4A16, the recipes;
# THREADS (all cores); ROUNDS (3); RECORDS, where records go; PEER_VERSION, added to llama-bench's.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${AQUATINT:-build/release/aquatint}
python=${PYTHON:-python3}
records=${RECORDS:-bench/results}
w8a8=${W8A8:-w8a8-dynamic-all}
w4a16=${W4A16:-w4a16-all}
[ $# -gt 0 ] || { sed -n 2,15p "$0" >&2; exit 2; }
[ -x "$program" ] || { echo "build first: ./dev build" >&2; exit 1; }
[ -x "${LLAMA_CPP:-}/llama-bench" ] || { echo "LLAMA_CPP: no folder of llama-bench" >&2; exit 1; }
"$python" -c 'import gguf, numpy' || { echo "PYTHON needs numpy and gguf" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

quietly() { # COMMAND…: its output only if it fails
  "$@" > "$work/log" 2>&1 || { tail -20 "$work/log" >&2; return 1; }
}

prepare() { # SOURCE NAME: the models of both sides in $work
  local model=$1
  if [[ $1 == *.json ]]; then
    model=$work/bfloat16
    kind=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["model_type"])' "$1")
    quietly "$program" synth --arch "$kind" --config "$1" --out "$model" --quiet
  else
    ln -s "$(realpath "$1")" "$work/bfloat16"
  fi
  quietly "$program" quantize "$model" --recipe "$w8a8" --out "$work/w8a8" --quiet
  quietly "$program" quantize "$model" --recipe "$w4a16" --out "$work/w4a16" --quiet
  quietly "$python" bench/gguf_from_shape.py "$model" "$work/BF16.gguf"
  quietly "$LLAMA_CPP/llama-quantize" "$work/BF16.gguf" "$work/Q8_0.gguf" Q8_0
  quietly "$LLAMA_CPP/llama-quantize" "$work/BF16.gguf" "$work/Q4_0.gguf" Q4_0
}

mkdir -p "$records"
for source in "$@"; do
  name=$(basename "$source" .json)
  record=$records/$(date +%F)-cpu-vs-llama-cpp-$name.txt
  prepare "$source"
  commit=${COMMIT:-$(git rev-parse --short HEAD 2> /dev/null || true)}
  {
    load=$(cut -d' ' -f1-3 /proc/loadavg)
    echo "date: $(date -u '+%F %H:%M UTC'), commit $commit; load before: $load"
    "$python" bench/cpu_vs_llama_cpp.py --program "$program" --peer "$LLAMA_CPP/llama-bench" \
      --peer-version "${PEER_VERSION:-}" --source "$source" --models "$work" \
      --recipes "$w8a8" "$w4a16" --threads "${THREADS:-$(nproc)}" --rounds "${ROUNDS:-3}"
  } | tee "$record.part"
  mv "$record.part" "$record"
  rm -rf "${work:?}"/*
done
