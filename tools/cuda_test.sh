#!/usr/bin/env bash
# Runs the tests that need an NVIDIA GPU from a build folder made elsewhere or here, and prints what
# a record needs: date, device, driver. ./dev cuda-test builds and calls it.
#
#   tools/cuda_test.sh BUILD_FOLDER [--sanitize]
#
# --sanitize runs the kernels' tests once more under compute-sanitizer.
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
if [[ ${2:-} == --sanitize ]]; then
  for tool in memcheck racecheck; do
    echo "==> kernels_test under compute-sanitizer, $tool"
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/src/kernels_test" \
      --gtest_filter='*Cuda*' --gtest_brief=1 || status=1
  done
fi
exit $status
