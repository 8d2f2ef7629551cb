#!/usr/bin/env bash
# Speed of GLA models on one NVIDIA GPU beside flash-linear-attention's on the same card and in the
# same run: prefill of 1 and 8 prompts of 2048 tokens, decode of 1 and 32 sequences. Prints a record
# for bench/results/.
#
#   bench/cuda_vs_fla.sh SHAPE… > bench/results/DATE-cuda-NAME.txt
#
# Environment: AQUATINT, the program (build/cuda/aquatint); FLA, the folder of the package fla
# (.fla); PYTHON, one that has torch (python3); RECIPES, what to quantize to beside float32.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${AQUATINT:-build/cuda/aquatint}
fla=${FLA:-.fla}
python=${PYTHON:-python3}
read -ra recipes <<< "${RECIPES:-w8a8-dynamic-all w4a16}"
[ -x "$program" ] || { echo "build first: ./dev build cuda" >&2; exit 1; }
[ $# -gt 0 ] || { sed -n 2,10p "$0" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

measure() { # MODEL
  local prompts=2048 generated=64 batch
  for batch in 1 8 32; do
    # Long prompts for prefill; at 32 sequences only decode is of interest.
    if [ "$batch" = 32 ]; then prompts=128; fi
    echo "\$ aquatint bench $(basename "$1") --device cuda --batch $batch" \
      "--prompt-tokens $prompts --generated-tokens $generated --repeats 7"
    "$program" bench "$1" --device cuda --batch "$batch" --prompt-tokens "$prompts" \
      --generated-tokens "$generated" --repeats 7 --ceilings --quiet | sed "s|$work/||g"
  done
}

commit=$(git rev-parse --short HEAD 2> /dev/null || echo unknown)
echo "date: $(date -u '+%F %H:%M UTC'), commit $commit"
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv,noheader | head -1
for shape in "$@"; do
  name=$(basename "$shape" .json)
  model=$work/$name
  "$program" synth --arch gla --config "$shape" --out "$model" --quiet
  measure "$model"
  for recipe in "${recipes[@]}"; do
    "$program" quantize "$model" --recipe "$recipe" --out "$model-$recipe" --quiet |
      tail -1 | sed "s|$work/||g"
    measure "$model-$recipe"
    rm -rf "$model-$recipe"
  done
  rm -rf "$model"
  echo "\$ fla_baseline.py --shape $shape"
  PYTHONPATH=$fla "$python" bench/fla_baseline.py --shape "$shape" --prefill 1x2048,8x2048 \
    --decode 1,32 --tokens 64 --repeats 7 --dtype bfloat16 2> "$work/fla.log" ||
    tail -20 "$work/fla.log"
done
