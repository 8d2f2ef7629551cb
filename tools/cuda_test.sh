#!/usr/bin/env bash
# Runs the tests that need an NVIDIA GPU from a build folder made elsewhere or here, and prints what
# a record needs: date, device, driver. ./dev cuda-test builds and calls it.
#
#   tools/cuda_test.sh BUILD_FOLDER [--sanitize]
#
# --sanitize then runs the kernels' tests of small sizes under compute-sanitizer (or the program
# that COMPUTE_SANITIZER names), with each of its tools, for SANITIZE_SECONDS (300) a suite at most.
# A tool that finds something, or is not done by then, is a failure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export AQUATINT_SOURCE_DIR=$PWD
build=${1:?the build folder is missing}
export AQUATINT_CUDA_MODULE=$PWD/$build/libaquatint_cuda.so
gpu_tests='*Cuda*:*Gpu*:Device*'
status=0

echo "date: $(date -u '+%F %H:%M UTC')"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
for program in src/device_test src/kernels_test src/quantize_test tests/cuda_models_test; do
  echo "==> $program"
  "$build/$program" --gtest_filter="$gpu_tests" --gtest_brief=1 || status=1
done
# Under the tools kernels are tens of times slower. Every kernel is tested, but the tests of large
# sizes, and of schemes of weights that take the way of another, are left out.
large=(
  'MatmulCuda.Float32*' 'MatmulCuda.Adds*' 'MatmulCuda.Int8*'  # the library's kernels
  '*LargeMatrices' '*LargeVocabularies' '*EveryLength' '*LongSequencesMatch' '*LongContexts*'
  '*AnySplit*' '*TheSameBytes' '*RunsAgain*' '*AnyNumberOfRows/*' '*ManyOutputsAndRows/*'
  '*/W4_group_64_*' '*/W4_group_96_*' '*/W4_group_256_*' '*/W4_group_384_*'
  '*/W8_group_128_*' '*/W3_*')

# The suites of kernels_test for GPUs, without what stands before a slash: "QuantMatmulCuda".
suites() {
  "$build/src/kernels_test" --gtest_list_tests --gtest_filter='*Cuda*' |
    sed -n 's/^\([^ ].*\)\.$/\1/; T; s/.*\///; p' | sort -u
}

# sanitize_suite TOOL SECONDS SUITE: only our kernels, as those of the library take minutes.
sanitize_suite() {
  local begin=$SECONDS result=0 log
  log=$(mktemp)
  timeout --kill-after=5 "$2" "${COMPUTE_SANITIZER:-compute-sanitizer}" --tool "$1" \
    --kernel-name kernel_substring=aquatint --error-exitcode 9 --print-limit 20 \
    "$build/src/kernels_test" --gtest_brief=1 --gtest_filter="$3.*:*/$3.*-$large_tests" \
    > "$log" 2>&1 || result=$?
  if grep -q 'before first instrumented API call' "$log"; then
    echo "$1 $3: none of its small tests is for a GPU"
    rm -f "$log"
    return 0
  fi
  case $result in
    0) echo "$1 $3: nothing found, $((SECONDS - begin)) s" ;;
    124 | 137) echo "$1 $3: not done after $2 s" ;;
    *) cat "$log"; echo "$1 $3: failed with $result, $((SECONDS - begin)) s" ;;
  esac
  rm -f "$log"
  return $((result != 0))
}
export -f sanitize_suite
large_tests=$(IFS=:; echo "${large[*]}")
export build large_tests

# Suites go side by side: nearly all of their time is the host's.
if [[ ${2:-} == --sanitize ]]; then
  for tool in memcheck synccheck initcheck racecheck; do
    echo "==> kernels_test under compute-sanitizer, $tool"
    suites | xargs -P "$(nproc)" -I{} bash -c "sanitize_suite $tool ${SANITIZE_SECONDS:-300} {}" ||
      status=1
  done
fi
exit $status
