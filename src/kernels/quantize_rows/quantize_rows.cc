#include "kernels/quantize_rows/quantize_rows.h"

#include <atomic>

#include "base/error.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/quantize_rows/cuda_args.h"
#include "kernels/quantize_rows/quantize_rows_variants.h"

namespace aquatint::kernels {
namespace {

// Below this many values waking the other threads costs more than the work.
constexpr std::int64_t kValuesPerThread = 1 << 14;

const QuantizeRowsVariant& active_variant() {
  static const QuantizeRowsVariant& chosen = []() -> const QuantizeRowsVariant& {
    const auto& variants = quantize_rows_variants();
    std::size_t best = 0;
    for (std::size_t i = 0; i < variants.size(); ++i) {
      if (variants[i].isa <= active_isa()) best = i;
    }
    return variants[best];
  }();
  return chosen;
}

void check_groups(std::int64_t columns, std::int64_t group_size, std::int64_t groups) {
  AQUATINT_ASSERT(columns > 0 && group_size > 0 && group_size % 8 == 0);
  AQUATINT_ASSERT(group_size * groups >= columns && group_size * (groups - 1) < columns);
}

template <typename Fn, typename Args>
bool run(Fn fn, const Args& args, std::int64_t rows) {
  std::atomic<bool> finite{true};
  const std::int64_t grain = (kValuesPerThread + args.columns - 1) / args.columns;
  parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    if (!fn(args, begin, end)) finite.store(false, std::memory_order_relaxed);
  });
  return finite.load(std::memory_order_relaxed);
}

}  // namespace

const std::vector<QuantizeRowsVariant>& quantize_rows_variants() {
  static const std::vector<QuantizeRowsVariant> variants = {
    {Isa::kReference, quantize_rows_int8_reference, quantize_rows_static_reference,
     round_rows_bf16_reference},
#if defined(__x86_64__)
    {Isa::kAvx2, quantize_rows_int8_avx2, quantize_rows_static_avx2, round_rows_bf16_avx2},
    {Isa::kAvx512, quantize_rows_int8_avx512, quantize_rows_static_avx512, round_rows_bf16_avx512},
#endif
  };
  return variants;
}

bool quantize_rows_int8(const float* x, std::int64_t rows, std::int64_t columns,
                        std::int64_t group_size, std::int64_t groups, std::int8_t* values,
                        float* scales, std::int32_t* group_sums) {
  check_groups(columns, group_size, groups);
  const QuantizeRowsInt8Args args{x, columns, group_size, groups, values, scales, group_sums};
  return run(active_variant().int8, args, rows);
}

bool quantize_rows_int8(Stream& stream, const float* x, std::int64_t rows, std::int64_t columns,
                        std::int64_t group_size, std::int64_t groups, std::int8_t* values,
                        float* scales, std::int32_t* group_sums, int tag) {
  if (!stream.is_cuda()) {
    return quantize_rows_int8(x, rows, columns, group_size, groups, values, scales, group_sums);
  }
  static const CudaKernel<QuantizeRowsCudaArgs> kernel("aquatint_cuda_quantize_rows");
  check_groups(columns, group_size, groups);
  QuantizeRowsCudaArgs args;
  args.x = x;
  args.rows = rows;
  args.columns = columns;
  args.sink.int8 = values;
  args.sink.scales = scales;
  args.sink.group_sums = group_sums;
  args.sink.group_size = group_size;
  args.sink.groups = groups;
  kernel(stream, args, tag);
  return true;
}

bool quantize_rows_static(const float* x, std::int64_t rows, std::int64_t columns,
                          std::int64_t group_size, std::int64_t groups, float scale,
                          std::int32_t zero_point, std::int8_t* values, std::int32_t* group_sums) {
  check_groups(columns, group_size, groups);
  AQUATINT_ASSERT(scale > 0 && zero_point >= -128 && zero_point <= 127);
  const QuantizeRowsStaticArgs args{x,          columns, group_size, groups, 1.0f / scale,
                                    zero_point, values,  group_sums};
  return run(active_variant().int8_static, args, rows);
}

bool round_rows_bf16(const float* x, std::int64_t rows, std::int64_t columns,
                     std::int64_t group_size, std::int64_t groups, std::uint16_t* values,
                     float* group_sums) {
  check_groups(columns, group_size, groups);
  const RoundRowsBf16Args args{x, columns, group_size, groups, values, group_sums};
  return run(active_variant().bf16, args, rows);
}

}  // namespace aquatint::kernels
