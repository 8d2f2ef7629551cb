#!/usr/bin/env bash
# What ./dev demo runs once the program is built: quantizes the model in assets/, shows what that
# cost and gained, and lets the original and the quantized models write a paragraph. Everything it
# makes is under build/demo/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=build/release/aquatint
readonly model=assets/models/gla-demo
readonly text=assets/text/sample.txt
readonly out=build/demo
readonly recipes=(w8a8-dynamic w4a16)
prompt="The old man shut the door behind him, and"
tokens=120
device=cpu

usage() {
  cat <<EOF
Usage: ./dev demo [--prompt TEXT] [--tokens N] [--device cpu|cuda|cuda:N]

Quantizes $model with ${recipes[*]} into $out/, compares size, quality and speed on
$text, and generates N tokens (default $tokens) after TEXT with each model.
EOF
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --prompt | --tokens | --device)
      if [[ $# -lt 2 ]]; then
        echo "demo: $1 needs a value" >&2
        exit 2
      fi
      case $1 in
        --prompt) prompt=$2 ;;
        --tokens) tokens=$2 ;;
        --device) device=$2 ;;
      esac
      shift 2
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      usage >&2
      echo "demo: unknown option '$1'" >&2
      exit 2
      ;;
  esac
done

# Shows a command as one would type it, and runs it.
step() {
  local word
  printf '\n$ aquatint'
  for word in "${@:2}"; do
    if [[ $word == *" "* ]]; then
      printf " '%s'" "$word"
    else
      printf ' %s' "$word"
    fi
  done
  printf '\n'
  "$@"
}

on=()
if [[ $device != cpu ]]; then
  program=build/cuda/aquatint
  on=(--device "$device")
fi

rm -rf "$out"
mkdir -p "$out"
for recipe in "${recipes[@]}"; do
  step "$program" quantize "$model" --recipe "$recipe" --out "$out/$recipe"
done
step "$program" compare "$model" "${recipes[@]/#/$out/}" --text "$text" "${on[@]}"
for folder in "$model" "${recipes[@]/#/$out/}"; do
  step "$program" run "$folder" --prompt "$prompt" --max-tokens "$tokens" --seed 1 "${on[@]}"
done
printf '\nThe quantized models are in %s. Next: %s --help\n' "$out" "$program"
