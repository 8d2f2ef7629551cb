#include "kernels/round_nearest/round_nearest.h"

#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "device/device_memory.h"
#include "kernels/round_nearest/cuda_args.h"
#include "kernels/round_nearest/round_nearest_internal.h"

namespace aquatint::kernels {
namespace {

constexpr std::int64_t kRowGrain = 8;

void check(const RoundNearestTask& task) {
  AQUATINT_ASSERT(task.rows > 0 && task.columns > 0);
  AQUATINT_ASSERT(is_float(task.dtype) && is_float(task.scale_dtype));
  AQUATINT_ASSERT(task.scheme.bits >= 2 && task.scheme.bits <= 8);
  AQUATINT_ASSERT(task.scheme.granularity != Granularity::kGroup || task.scheme.group_size > 0);
  AQUATINT_ASSERT(task.scheme.symmetric == (task.zero_points == nullptr));
}

WeightRange range_of_tensor(const RoundNearestTask& task) {
  std::vector<WeightRange> ranges(static_cast<std::size_t>(task.rows));
  parallel_for(task.rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    ranges[static_cast<std::size_t>(begin)] = range_of_rows(task, begin, end);
  });
  WeightRange range;
  for (const WeightRange& of_part : ranges) range.include(of_part);
  return range;
}

StoredFloat stored_float(DType dtype) {
  if (dtype == DType::kBF16) return StoredFloat::kBF16;
  return dtype == DType::kF16 ? StoredFloat::kF16 : StoredFloat::kF32;
}

}  // namespace

void round_nearest(const RoundNearestTask& task) {
  check(task);
  const bool per_tensor = task.scheme.granularity == Granularity::kTensor;
  WeightRange whole;
  if (per_tensor) whole = range_of_tensor(task);
  parallel_for(task.rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    round_rows(task, per_tensor ? &whole : nullptr, begin, end);
  });
}

void round_nearest(Stream& stream, const RoundNearestTask& task) {
  if (!stream.is_cuda()) {
    round_nearest(task);
    return;
  }
  static const CudaKernel<RoundNearestCudaArgs> kernel("aquatint_cuda_round_nearest");
  check(task);
  RoundNearestCudaArgs args;
  args.weights = task.weights;
  args.type = stored_float(task.dtype);
  args.scale_type = stored_float(task.scale_dtype);
  args.rows = task.rows;
  args.columns = task.columns;
  args.groups = task.scheme.groups(task.columns);
  args.group =
      task.scheme.granularity == Granularity::kGroup ? task.scheme.group_size : task.columns;
  args.bits = task.scheme.bits;
  args.values = task.values;
  args.scales = task.scales;
  args.zero_points = task.zero_points;
  // Given back before the kernels have run: what takes it next is queued behind them.
  std::shared_ptr<void> extremes;
  if (task.scheme.granularity == Granularity::kTensor) {
    extremes = allocate_on(stream.device(), 2 * sizeof(std::int32_t));
    args.extremes = static_cast<std::int32_t*>(extremes.get());
  }
  kernel(stream, args);
}

}  // namespace aquatint::kernels
