#!/usr/bin/env bash
# Speed and memory of GLA models on this processor: float32, W8A8 and W4A16, prefill of 2048 tokens
# and decode at batch 1, as shares of the ceilings measured in the same run. Writes one record to
# bench/results/.
#
#   bench/gla_cpu.sh MODEL_OR_SHAPE…
#   bench/gla_cpu.sh assets/models/gla-demo bench/shapes/gla-1.3b.json
#
# A .json file is a shape: a model with random weights is made of it in a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."
program=build/release/aquatint
[ -x "$program" ] || { echo "build first: ./dev build" >&2; exit 1; }
[ $# -gt 0 ] || { sed -n 2,10p "$0" >&2; exit 2; }

options=(--prompt-tokens 2048 --generated-tokens 64 --repeats 3 --ceilings)
work=$(mktemp -d)
mkdir -p bench/results
trap 'rm -rf "$work"' EXIT
for source in "$@"; do
  name=$(basename "$source" .json)
  model=$source
  if [[ $source == *.json ]]; then
    model=$work/$name
    "$program" synth --arch gla --config "$source" --out "$model" --quiet
  fi
  record=bench/results/$(date +%F)-cpu-$name.txt
  {
    echo "date: $(date -u '+%F %H:%M UTC'), commit $(git rev-parse --short HEAD)"
    cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
    echo "processor: $cpu, $(nproc) cores; load before: $(cut -d' ' -f1-3 /proc/loadavg)"
    for recipe in float32 w8a8-dynamic w8a8-dynamic-all w4a16 w4a8-dynamic; do
      folder=$model
      if [ "$recipe" != float32 ]; then
        folder=$work/$name-$recipe
        "$program" quantize "$model" --recipe "$recipe" --out "$folder" --quiet |
          tail -1 | sed "s|$work/||g"
      fi
      echo "\$ aquatint bench $name-$recipe ${options[*]}"
      "$program" bench "$folder" "${options[@]}" --quiet | sed "s|$work/||g"
      size=$(du -cb "$folder"/*.safetensors | tail -1 | cut -f1)
      echo "  files    $size bytes of weights"
      if [ "$recipe" != float32 ]; then rm -rf "$folder"; fi
    done
  } | tee "$record"
done
