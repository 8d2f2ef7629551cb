#!/usr/bin/env bash
# Speed of GLA models on one NVIDIA GPU beside flash-linear-attention's on the same card and in the
# same run: prefill of 1 and 8 prompts of 2048 tokens, decode of 1 and 32 sequences, as shares of
# what the card copies and multiplies. Writes one record a shape to bench/results/cuda/.
#
#   bench/cuda_vs_fla.sh SHAPE…
#
# Environment: AQUATINT, the program (build/cuda/aquatint); FLA, the folder of the Python package
# fla (.fla); FLA_OPTIONS, of bench/fla_baseline.py; PYTHON, one that has torch (python3); RECIPES,
# what to quantize to beside bfloat16; RECORDS, where records go; COMMIT, where there is no git.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${AQUATINT:-build/cuda/aquatint}
fla=${FLA:-.fla}
python=${PYTHON:-python3}
records=${RECORDS:-bench/results/cuda}
read -ra recipes <<< "${RECIPES:-w8a8-dynamic w4a16}"
read -ra fla_options <<< "${FLA_OPTIONS:---repeats 7}"
[ -x "$program" ] || { echo "build first: ./dev build cuda" >&2; exit 1; }
[ $# -gt 0 ] || { sed -n 2,12p "$0" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

measure() { # MODEL
  local prompts=2048 batch options
  for batch in 1 8 32; do
    # Long prompts for prefill; of 32 sequences only the decode is of interest.
    if [ "$batch" = 32 ]; then prompts=128; fi
    options=(--device cuda --dtype bfloat16 --batch "$batch" --prompt-tokens "$prompts"
      --generated-tokens 64 --repeats 7)
    if [ "$batch" = 1 ]; then options+=(--ceilings); fi
    echo "\$ aquatint bench $(basename "$1") ${options[*]}"
    "$program" bench "$1" "${options[@]}" --quiet | sed "s|$work/||g"
  done
}

baseline() { # SHAPE
  if ! PYTHONPATH=$fla "$python" -c 'import fla' 2> "$work/fla.log"; then
    echo "flash-linear-attention is not there ($(tail -1 "$work/fla.log")): no comparison"
    return 0
  fi
  echo "\$ fla_baseline.py --shape $1 ${fla_options[*]}"
  PYTHONPATH=$fla "$python" bench/fla_baseline.py --shape "$1" "${fla_options[@]}" \
    2> "$work/fla.log" || tail -20 "$work/fla.log"
}

record() { # SHAPE
  local name model recipe commit
  name=$(basename "$1" .json)
  model=$work/$name
  commit=${COMMIT:-$(git rev-parse --short HEAD 2> /dev/null || true)}
  echo "date: $(date -u '+%F %H:%M UTC'), commit $commit"
  nvidia-smi --query-gpu=name,driver_version,power.limit --format=csv,noheader | head -1
  "$program" synth --arch gla --config "$1" --out "$model" --quiet | sed "s|$work/||g"
  measure "$model"
  for recipe in "${recipes[@]}"; do
    "$program" quantize "$model" --recipe "$recipe" --out "$model-$recipe" --quiet |
      tail -1 | sed "s|$work/||g"
    measure "$model-$recipe"
    rm -rf "$model-$recipe"
  done
  rm -rf "$model"
  baseline "$1"
}

mkdir -p "$records"
for shape in "$@"; do
  record "$shape" | tee "$records/$(date +%F)-$(basename "$shape" .json).txt"
done
